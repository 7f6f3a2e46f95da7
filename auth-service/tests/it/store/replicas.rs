//! Two replicas on one PostgreSQL schema, and what survives the kill of the server.

use auth_service::{
    domain::{
        signing_key::{KeyRecord, KeyState, SealedKey},
        throttle::{Attempt, ThrottleKey, ThrottlePolicy},
        user::Key,
    },
    store::{FamilyEnd, Rotation},
};

use super::*;

async fn two_on(server: &Postgres) -> [Arc<dyn Store>; 2] {
    [Arc::new(migrated(&schema_on(server)).await), Arc::new(migrated(&schema_on(server)).await)]
}

fn rotation(spent: u8, successor: u8) -> Rotation {
    Rotation {
        spent: digest(spent),
        client: ClientId::first_party(),
        successor: digest(successor),
        sealed: Some(vec![successor]),
        idle_until: T0 + 101 * SECOND,
        now: T0 + SECOND,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_rotations_that_race_on_replicas_one_wins() {
    let server = Postgres::start(Sync::Off);
    let stores = two_on(&server).await;
    stores[0].insert_user(new_user(1, "alice")).await.unwrap();
    assert!(stores[0].begin_family(&new_family(1, 1)).await.unwrap());
    let rotated = at_once(32, |number| {
        let store = Arc::clone(&stores[number % 2]);
        let successor = 10 + u8::try_from(number).unwrap();
        async move { store.rotate(&rotation(1, successor)).await.unwrap() }
    })
    .await;
    assert_eq!(rotated.iter().filter(|won| **won).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_first_keys_that_race_on_replicas_one_wins() {
    let server = Postgres::start(Sync::Off);
    let stores = two_on(&server).await;
    let inserted = at_once(16, |number| {
        let store = Arc::clone(&stores[number % 2]);
        let record = KeyRecord {
            kid: format!("key-{number}"),
            algorithm: token::Algorithm::Es256,
            state: KeyState::Active { since: T0 },
        };
        async move { store.insert_signing_key(&SealedKey { record, sealed: vec![1] }).await.unwrap() }
    })
    .await;
    assert_eq!(inserted.iter().filter(|won| **won).count(), 1);
}

/// A family that began under the former epoch is either seen and ended by the change, or does not begin.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_family_outlives_a_password_change_that_races_with_its_login() {
    let server = Postgres::start(Sync::Off);
    let stores = two_on(&server).await;
    for round in 0..40_u8 {
        let id = user_id(usize::from(round) + 1);
        stores[0]
            .insert_user(NewUser { id: id.clone(), ..new_user(1, &format!("user{round}")) })
            .await
            .unwrap();
        let mut new = new_family(usize::from(round), round);
        new.family.subject = id.clone();
        let other = hash(9);
        let (begun, changed) = tokio::join!(
            stores[0].begin_family(&new),
            stores[1].set_password(&id, None, &other, false, T0 + SECOND)
        );
        assert!(changed.unwrap().is_some());
        let alive = stores[0].family_is_alive(&new.family.id, T0 + SECOND).await.unwrap();
        assert!(!alive, "round {round}, begun: {}", begun.unwrap());
    }
}

/// Login attempts are counted for all replicas together (P06).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p06_a_burst_over_replicas_gets_no_more_than_the_limit() {
    let server = Postgres::start(Sync::Off);
    let stores = two_on(&server).await;
    let policy = ThrottlePolicy {
        free: 5,
        first_delay: SECOND,
        max_delay: 900 * SECOND,
        forget_after: 86_400 * SECOND,
    };
    let reserved = at_once(40, |number| {
        let store = Arc::clone(&stores[number % 2]);
        async move {
            let key = ThrottleKey { account: [7; 32], address: "192.0.2.1".into() };
            store.reserve_attempt(&key, &policy, T0).await.unwrap()
        }
    })
    .await;
    assert_eq!(reserved.iter().filter(|one| **one == Attempt::Reserved).count(), 5);
}

#[tokio::test]
async fn what_was_answered_survives_the_kill_of_the_server() {
    let mut server = Postgres::start(Sync::On);
    for round in 1..=5_u8 {
        let store: Arc<dyn Store> = Arc::new(migrated(&schema_on(&server)).await);
        let id = user_id(usize::from(round));
        let named = NewUser { id: id.clone(), ..new_user(1, &format!("user{round}")) };
        assert_eq!(store.insert_user(named).await.unwrap(), Inserted::Done);
        let family = |number: u8| {
            let mut new = new_family(usize::from(number), number);
            new.family.subject = id.clone();
            new
        };
        let (kept, ended) = (family(round), family(100 + round));
        assert!(store.begin_family(&kept).await.unwrap());
        assert!(store.begin_family(&ended).await.unwrap());
        assert!(store.end_family(&ended.family.id, None, FamilyEnd::Logout, T0).await.unwrap());
        server.kill();
        server.restart();
        let store: Arc<dyn Store> = Arc::new(migrated(&schema_on(&server)).await);
        assert!(store.user(&Key::Id(id.clone())).await.unwrap().is_some());
        assert!(store.family_is_alive(&kept.family.id, T0).await.unwrap());
        assert!(!store.family_is_alive(&ended.family.id, T0).await.unwrap());
    }
}
