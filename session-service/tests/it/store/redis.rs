//! What is Redis's own: what is left lying around, what survives, and what becomes of it when the server is ill.

mod encrypted;
mod faults;
mod replies;

use std::sync::Arc;
use std::time::Duration;

use chassis::config::Shutdown;
use chassis::lifecycle::Lifecycle;
use redis::Value;
use servers::Redis;
use session_service::domain::{AtLimit, EndReason, Limit, SealedSuccessor, SessionSecret};
use session_service::store::{Activity, Created, Ending, NewSession, Rotated, Rotation, StoreError, Sweep};

use super::{
    ELSEWHERE, LIFETIMES, START, Store, all_at_once, at, attributes, create, found, id, login, rotate,
    rotation, secret, store_on,
};

const PATIENT: Duration = Duration::from_secs(30);

fn life() -> Lifecycle {
    Lifecycle::new(Shutdown::default())
}

async fn shared_on(server: &Redis, life: &Lifecycle) -> Store {
    Arc::new(store_on(server, life, PATIENT).await)
}

/// Everything that the server holds: keys, milliseconds they may live, and their contents.
async fn contents(server: &Redis) -> Vec<(Vec<u8>, i64, Value)> {
    let client = redis::Client::open(server.url()).unwrap();
    let mut to = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut to).await.unwrap();
    let mut all = Vec::new();
    for key in keys {
        let lives: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut to).await.unwrap();
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut to).await.unwrap();
        let read = match kind.as_str() {
            "hash" => redis::cmd("HGETALL").arg(&key).clone(),
            "zset" => redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).clone(),
            "string" => redis::cmd("GET").arg(&key).clone(),
            other => panic!("{} is a {other}", key.escape_ascii()),
        };
        all.push((key, lives, read.query_async(&mut to).await.unwrap()));
    }
    all
}

#[tokio::test]
async fn s02_no_secret_is_in_redis() {
    let (server, life) = (Redis::start(), life());
    let store = shared_on(&server, &life).await;
    let drawn = |of: u8| {
        let mut bytes: [u8; 32] = std::array::from_fn(|position| position as u8 ^ of);
        let secret = SessionSecret::draw(id(1).shard(), || {
            bytes[31] = bytes[31].wrapping_add(1);
            bytes
        });
        (bytes, secret)
    };
    let (first, second) = (drawn(0xa5), drawn(0x5a));
    create(&store, NewSession { secret: first.1.digest(), ..login(1, "usr_1", START) }).await;
    let rotation = Rotation {
        from: first.1.digest(),
        to: second.1.digest(),
        sealed: SealedSuccessor::seal(&second.1, &first.1, &id(1), [7; 12]).unwrap(),
        ..rotation(1, 1, 2, at(1))
    };
    assert_eq!(store.rotate(rotation).await.unwrap(), Rotated::Done);
    let all = contents(&server).await;
    let mut held = Vec::new();
    for (key, _, value) in &all {
        held.push(key.as_slice());
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        held.extend(items.iter().map(|item| {
            let Value::BulkString(bytes) = item else { panic!("{}: {item:?}", key.escape_ascii()) };
            bytes.as_slice()
        }));
    }
    let contains =
        |needle: &[u8]| held.iter().any(|one| one.windows(needle.len()).any(|part| part == needle));
    assert!(contains(id(1).as_str().as_bytes()), "the search finds what is there");
    assert!(contains(second.1.digest().as_bytes()));
    for (bytes, secret) in [first, second] {
        assert!(!contains(&bytes));
        assert!(!contains(secret.expose().as_bytes()));
    }
}

#[tokio::test]
async fn every_key_has_a_time_to_live_and_a_sweep_leaves_none() {
    let (server, life) = (Redis::start(), life());
    let store = shared_on(&server, &life).await;
    create(&store, login(1, "usr_1", START)).await;
    rotate(&store, 1, 1, 11, at(1)).await;
    rotate(&store, 1, 11, 12, at(2)).await;
    create(&store, login(ELSEWHERE, "usr_2", START)).await;
    store.record_activity(&[Activity { id: id(ELSEWHERE), at: at(1) }]).await.unwrap();
    store.set_attributes(&id(ELSEWHERE), 0, &attributes(&[("cart", b"3")]), at(1)).await.unwrap();
    let day = 24 * 60 * 60 * 1_000;
    let absolute = i64::try_from(LIFETIMES.absolute.as_millis()).unwrap();
    let live = |all: &[(Vec<u8>, i64, Value)]| {
        for (key, lives, _) in all {
            let key = key.escape_ascii();
            assert!(*lives > day / 2 && *lives <= absolute + day, "{key} lives for {lives}");
        }
        all.len()
    };
    // Of each subject the session, its secret, those of its subject, all, over and idle ones, and its proof; then what two
    // former secrets find, the rotations and their windows.
    assert_eq!(live(&contents(&server).await), 2 * 7 + 2 + 2);
    // What is kept under a secret goes with its session. Each command counts its time to live from when it is run, so a
    // slow machine has some milliseconds between them.
    let until = async |key: Vec<u8>| {
        let client = redis::Client::open(server.url()).unwrap();
        let mut to = client.get_multiplexed_async_connection().await.unwrap();
        let until: i64 = redis::cmd("PEXPIRETIME").arg(key).query_async(&mut to).await.unwrap();
        until
    };
    for (number, current) in [(1, 12), (ELSEWHERE, ELSEWHERE)] {
        let shard = format!("latchkey:2:{{sessions-{}}}", id(number).shard().number());
        let session = until(format!("{shard}:session:{}", id(number)).into_bytes()).await;
        let secret = [shard.as_bytes(), b":secret:", secret(current).digest().as_bytes()].concat();
        assert!(session > 0);
        let apart = until(secret).await.abs_diff(session);
        assert!(apart < 60_000, "{apart} ms of a day");
    }
    store.end(Ending::One(id(ELSEWHERE)), EndReason::Logout, at(1)).await.unwrap();
    // Its tombstone, when that is over, and its proof.
    assert_eq!(live(&contents(&server).await), 7 + 2 + 2 + 3);

    let over = Sweep { now: START + LIFETIMES.absolute, idle_before: None, most: 100 };
    let swept = store.sweep(over).await.unwrap();
    assert_eq!((swept.sessions, swept.proofs), (2, 2));
    let left = contents(&server).await;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let (server, life) = (Redis::start(), life());
    let store = shared_on(&server, &life).await;
    let first = login(1, "usr_1", START);
    create(&store, first.clone()).await;
    let before = contents(&server).await.len();
    let again = NewSession { proof: first.proof.clone(), ..login(2, "usr_1", at(1)) };
    assert_eq!(store.create(again).await.unwrap(), Created::ProofSpent);
    let limit = Limit { most: 1, at_limit: AtLimit::Refuse };
    let refused = NewSession { limit, ..login(3, "usr_1", at(1)) };
    assert_eq!(store.create(refused).await.unwrap(), Created::LimitReached);
    assert_eq!(store.rotate(rotation(1, 9, 10, at(1))).await.unwrap(), Rotated::NotCurrent);
    assert_eq!(contents(&server).await.len(), before);
    // The very same login once more takes nothing from the first.
    assert_eq!(store.create(first).await.unwrap(), Created::ProofSpent);
    assert_eq!(found(&store, 1, at(1)).await, Some(id(1)));
}

/// They would not be found where they are looked for.
#[tokio::test]
async fn an_id_or_a_secret_of_another_shard_is_not_stored() {
    let (server, life) = (Redis::start(), life());
    let store = shared_on(&server, &life).await;
    let mut odd_id = login(1, "usr_1", START);
    odd_id.session.id = id(ELSEWHERE);
    let odd_secret = NewSession { secret: secret(ELSEWHERE).digest(), ..login(1, "usr_1", START) };
    for odd in [odd_id, odd_secret] {
        assert!(matches!(store.create(odd).await, Err(StoreError::Corrupt(_))));
    }
    assert!(contents(&server).await.is_empty());
    create(&store, login(1, "usr_1", START)).await;
    let odd = store.rotate(rotation(1, 1, ELSEWHERE, at(1))).await;
    assert!(matches!(odd, Err(StoreError::Corrupt(_))), "{odd:?}");
    assert_eq!(found(&store, 1, at(1)).await, Some(id(1)));
}

/// Kill after kill: with its file nothing that was answered is lost; without it everything is, or this test shows nothing.
#[tokio::test]
async fn f08_what_was_answered_survives_the_kill_of_the_server_if_it_has_its_file() {
    // Flushed every second, a busy disk makes Redis hold back what it has acknowledged, and a kill loses it.
    for (setting, survives) in [("appendfsync always", true), ("appendonly no", false)] {
        let mut server = Redis::start_with(&[setting]);
        for round in 1..=5 {
            let life = life();
            let store = shared_on(&server, &life).await;
            let cart = attributes(&[("cart", b"3")]);
            create(&store, login(round, "usr_1", START)).await;
            rotate(&store, round, round, 10 + round, at(1)).await;
            store.set_attributes(&id(round), 0, &cart, at(1)).await.unwrap();
            create(&store, login(100 + round, "usr_1", START)).await;
            assert_eq!(
                store.end(Ending::One(id(100 + round)), EndReason::Logout, at(1)).await.unwrap().len(),
                1
            );
            server.kill();
            server.restart();
            let store = shared_on(&server, &life).await;
            for known in [round, 10 + round] {
                assert_eq!(found(&store, known, at(2)).await.is_some(), survives, "round {round}");
            }
            assert_eq!(found(&store, 100 + round, at(2)).await, None);
            if survives {
                let read = store.get(&id(round), at(2)).await.unwrap().unwrap();
                assert_eq!(read.attributes, cart);
                let proof = login(round, "usr_1", START).proof;
                let again = NewSession { proof, ..login(200 + round, "usr_1", at(2)) };
                assert_eq!(store.create(again).await.unwrap(), Created::ProofSpent);
            }
        }
    }
}
