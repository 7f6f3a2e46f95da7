//! What only a file can promise: that it survives, and that it holds no secret. What can be wrong with it is tested in the
//! chassis.

use session_service::domain::EndReason;
use session_service::store::{Ending, StoreError};

use super::*;

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(&sqlite_at(path)).await.unwrap()
}

fn shared(store: &SqliteStore) -> Store {
    Arc::new(store.clone())
}

#[tokio::test]
async fn sessions_and_endings_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.sqlite");
    let first = open(&path).await;
    let store = shared(&first);
    for number in 1..=3 {
        create(&store, login(number, "usr_1", START)).await;
    }
    rotate(&store, 2, 2, 12, at(1)).await;
    store.set_attributes(&id(2), 0, &attributes(&[("cart", b"3")]), at(1)).await.unwrap();
    store.end(Ending::One(id(3)), EndReason::Logout, at(1)).await.unwrap();
    // Not closed: the second one opens what a process that was killed leaves behind.
    let second = open(&path).await;
    let store = shared(&second);
    assert_eq!(found(&store, 1, at(2)).await, Some(id(1)));
    assert_eq!(found(&store, 2, at(2)).await, Some(id(2)), "its window is open");
    assert_eq!(found(&store, 12, at(2)).await, Some(id(2)));
    assert_eq!(store.get(&id(2), at(2)).await.unwrap().unwrap().attributes, attributes(&[("cart", b"3")]));
    assert_eq!(found(&store, 3, at(2)).await, None);
    let again = NewSession { proof: login(1, "usr_1", START).proof, ..login(9, "usr_1", at(2)) };
    assert_eq!(store.create(again).await.unwrap(), Created::ProofSpent);
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn s02_no_secret_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = open(&folder.path().join("session.sqlite")).await;
    let store = shared(&sqlite);
    let bytes: [u8; 32] = std::array::from_fn(|position| position as u8 ^ 0xa5);
    let successor: [u8; 32] = std::array::from_fn(|position| position as u8 ^ 0x5a);
    let (first, second) = (SessionSecret::new(bytes), SessionSecret::new(successor));
    create(&store, NewSession { secret: first.digest(), ..login(1, "usr_1", START) }).await;
    let rotation = Rotation {
        from: first.digest(),
        to: second.digest(),
        sealed: SealedSuccessor::seal(&second, &first, &id(1), [7; 12]).unwrap(),
        ..rotation(1, 1, 2, at(1))
    };
    assert_eq!(store.rotate(rotation).await.unwrap(), Rotated::Done);
    let contains = |needle: &[u8]| {
        std::fs::read_dir(folder.path()).unwrap().any(|file| {
            let content = std::fs::read(file.unwrap().path()).unwrap();
            content.windows(needle.len()).any(|window| window == needle)
        })
    };
    assert!(contains(id(1).as_str().as_bytes()), "the search finds what is there");
    assert!(contains(second.digest().as_bytes()));
    for secret in [(bytes, first), (successor, second)] {
        assert!(!contains(&secret.0));
        assert!(!contains(secret.1.expose().as_bytes()));
    }
    sqlite.close().await;
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_is_unavailable_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = open(&folder.path().join("session.sqlite")).await;
    let store = shared(&sqlite);
    create(&store, login(1, "usr_1", START)).await;
    sqlite.close().await;
    let unavailable = |error: StoreError| assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    unavailable(store.find(secret(1).digest(), at(1)).await.unwrap_err());
    unavailable(store.get(&id(1), at(1)).await.unwrap_err());
    unavailable(store.create(login(2, "usr_1", at(1))).await.unwrap_err());
    unavailable(store.end(Ending::One(id(1)), EndReason::Logout, at(1)).await.unwrap_err());
    unavailable(store.set_attributes(&id(1), 0, &attributes(&[]), at(1)).await.unwrap_err());
}
