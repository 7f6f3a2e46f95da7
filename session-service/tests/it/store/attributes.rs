use session_service::domain::EndReason;
use session_service::store::{AttributesSet, Ending};

use super::*;

pub async fn attributes_change_by_compare_and_set(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    let cart = attributes(&[("cart", b"3")]);
    let session = id(1);
    let set = |expected| store.set_attributes(&session, expected, &cart, at(1));
    assert_eq!(set(1).await.unwrap(), AttributesSet::VersionMismatch { current: 0 });
    assert_eq!(set(u64::MAX).await.unwrap(), AttributesSet::VersionMismatch { current: 0 });
    assert_eq!(set(0).await.unwrap(), AttributesSet::Done { version: 1 });
    assert_eq!(set(0).await.unwrap(), AttributesSet::VersionMismatch { current: 1 });
    let session = store.get(&id(1), at(1)).await.unwrap().unwrap();
    assert_eq!((session.attributes_version, &session.attributes), (1, &cart));
    assert_eq!(session.last_active_at, START, "no activity");
    let emptied = store.set_attributes(&id(1), 1, &attributes(&[]), at(1)).await.unwrap();
    assert_eq!(emptied, AttributesSet::Done { version: 2 });
    assert_eq!(store.get(&id(1), at(1)).await.unwrap().unwrap().attributes, attributes(&[]));
}

pub async fn of_racing_writers_one_wins(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    let outcomes = all_at_once((0..50_u8).map(|writer| {
        let store = store.clone();
        async move {
            (
                writer,
                store.set_attributes(&id(1), 0, &attributes(&[("writer", &[writer])]), at(1)).await.unwrap(),
            )
        }
    }))
    .await;
    let winners: Vec<u8> = outcomes
        .iter()
        .filter(|(_, set)| *set == AttributesSet::Done { version: 1 })
        .map(|(writer, _)| *writer)
        .collect();
    let [winner] = winners[..] else { panic!("{winners:?}") };
    let session = store.get(&id(1), at(1)).await.unwrap().unwrap();
    assert_eq!(session.attributes, attributes(&[("writer", &[winner])]));
    assert_eq!(session.attributes_version, 1);
}

pub async fn the_missing_and_the_ended_have_none(store: Store) {
    let nothing = attributes(&[]);
    assert_eq!(store.set_attributes(&id(1), 0, &nothing, START).await.unwrap(), AttributesSet::NotFound);
    create(&store, login(1, "usr_1", START)).await;
    store.end(Ending::One(id(1)), EndReason::Logout, at(1)).await.unwrap();
    assert_eq!(store.set_attributes(&id(1), 0, &nothing, at(2)).await.unwrap(), AttributesSet::NotFound);
    create(&store, login(2, "usr_1", START)).await;
    let edge = START + LIFETIMES.absolute;
    assert_eq!(store.set_attributes(&id(2), 0, &nothing, edge).await.unwrap(), AttributesSet::NotFound);
}

pub async fn bytes_read_back(store: Store) {
    create(&store, login(1, "usr_1", START)).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let odd = attributes(&[
        ("every", &every_byte),
        ("none", b""),
        ("quote\" ✓\n", b"{}"),
        ("large", &[0xff; 3_000]),
    ]);
    store.set_attributes(&id(1), 0, &odd, at(1)).await.unwrap();
    assert_eq!(store.get(&id(1), at(1)).await.unwrap().unwrap().attributes, odd);
    assert_eq!(store.find(secret(1).digest(), at(1)).await.unwrap().unwrap().session.attributes, odd);
}
