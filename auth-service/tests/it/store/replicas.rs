//! Races of two replicas: two pools on one PostgreSQL schema, two writers on one SQLite file. What is raced within one process,
//! the conformance suite has.

use std::collections::BTreeSet;

use auth_service::{
    domain::{
        signing_key::{KeyRecord, KeySchedule, KeyState, SealedKey},
        throttle::{Attempt, ThrottleKey, ThrottlePolicy},
    },
    flows::keys::Keys,
    store::Rotation,
};
use chassis::entropy::TestEntropy;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Barrier;

use super::*;

type Pair = [Arc<dyn Store>; 2];

macro_rules! on_every_pair {
    ($($race:ident),* $(,)?) => {
        mod on_sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $race() {
                let folder = tempfile::tempdir().unwrap();
                let settings = sqlite_settings(&folder.path().join("auth.sqlite"));
                let open = async || Arc::new(SqliteStore::open(&settings).await.unwrap());
                super::$race([open().await, open().await]).await;
            })*
        }
        mod on_postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $race() {
                let server = Postgres::start(Sync::Off);
                let open = async || Arc::new(migrated(&schema_on(&server)).await);
                super::$race([open().await, open().await]).await;
            })*
        }
    };
}

on_every_pair! {
    of_rotations_that_race_on_replicas_one_wins,
    of_first_keys_that_race_on_replicas_one_wins,
    replicas_that_start_at_once_agree_on_one_key,
    no_family_outlives_a_password_change_that_races_with_its_login,
    no_family_outlives_the_user_whose_deletion_races_with_its_login,
    no_family_outlives_the_user_whose_disabling_races_with_its_login,
    no_token_outlives_the_user_whose_deletion_races_with_its_rotation,
    p06_a_burst_over_replicas_gets_no_more_than_the_limit,
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

async fn of_rotations_that_race_on_replicas_one_wins(stores: Pair) {
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

/// The control.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_reads_and_writes_by_what_was_read_makes_a_successor_each() {
    let server = Postgres::start(Sync::Off);
    let store = migrated(&schema_on(&server)).await;
    store.insert_user(new_user(1, "alice")).await.unwrap();
    assert!(store.begin_family(&new_family(1, 1)).await.unwrap());
    let pool = PgPoolOptions::new().max_connections(8).connect(&server.url()).await.unwrap();
    let have_read = Arc::new(Barrier::new(8));
    let rotated = at_once(8, |number| {
        let (pool, have_read) = (pool.clone(), Arc::clone(&have_read));
        let successor = [100 + u8::try_from(number).unwrap(); 32].to_vec();
        async move {
            let unspent = "SELECT digest, family FROM auth.refresh_tokens WHERE spent_at IS NULL";
            let read = sqlx::query_as::<_, (Vec<u8>, String)>(unspent).fetch_optional(&pool).await;
            have_read.wait().await;
            let Some((spent, family)) = read.unwrap() else { return false };
            let spend = "UPDATE auth.refresh_tokens SET spent_at = 1 WHERE digest = $1";
            sqlx::query(spend).bind(&spent).execute(&pool).await.unwrap();
            let issue = "INSERT INTO auth.refresh_tokens (digest, family, expires_at) VALUES ($1, $2, 2)";
            sqlx::query(issue).bind(&successor).bind(&family).execute(&pool).await.unwrap();
            true
        }
    })
    .await;
    assert_eq!(rotated, [true; 8]);
}

async fn of_first_keys_that_race_on_replicas_one_wins(stores: Pair) {
    let inserted = at_once(32, |number| {
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

/// What eight replicas do that start at once on a new schema, and all want to sign.
async fn replicas_that_start_at_once_agree_on_one_key(stores: Pair) {
    let signing = at_once(8, |number| {
        let store = Arc::clone(&stores[number % 2]);
        async move {
            let schedule = KeySchedule {
                algorithm: token::Algorithm::Es256,
                rotate_every: 1_000 * SECOND,
                announce_for: 100 * SECOND,
                outlives: 10 * SECOND,
            };
            let entropy = Arc::new(TestEntropy::new(u64::try_from(number).unwrap()));
            let (clock, master) = (SystemClock::shared(), crate::stack::master_key());
            let keys = Keys::new(store, clock, entropy, master, schedule, 10 * SECOND);
            keys.advance(T0).await.unwrap();
            keys.ring().unwrap().active().kid().to_owned()
        }
    })
    .await;
    assert_eq!(signing.iter().collect::<BTreeSet<_>>().len(), 1, "{signing:?}");
    assert_eq!(stores[0].signing_keys().await.unwrap().len(), 1);
}

/// Logins of one user that race with what ends them all: a family either is seen and ended by the change, or does not
/// begin.
async fn no_family_outlives<F>(stores: Pair, change: impl Fn(Arc<dyn Store>, UserId) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut begun = 0;
    for round in 0..10 {
        let id = user_id(round + 1);
        let user = NewUser { id: id.clone(), ..new_user(1, &format!("user{round}")) };
        assert_eq!(stores[0].insert_user(user).await.unwrap(), Inserted::Done);
        let family = |number: usize| {
            let mut new = new_family(100 * round + number, 0);
            let mut token = [0; 32];
            token[..8].copy_from_slice(&(100 * round + number).to_be_bytes());
            (new.family.subject, new.token) = (id.clone(), Digest::from_bytes(token));
            new
        };
        let began = at_once(32, |number| {
            let store = Arc::clone(&stores[number % 2]);
            let (new, changed) = (family(number), change(Arc::clone(&store), id.clone()));
            async move {
                if number == 16 {
                    changed.await;
                    return false;
                }
                store.begin_family(&new).await.unwrap()
            }
        })
        .await;
        begun += began.into_iter().filter(|began| *began).count();
        for number in 0..32 {
            let token = family(number).token;
            assert!(!family_is_alive(&*stores[0], &token, T0).await, "round {round}: {number}");
        }
    }
    // Some were there to be ended.
    assert!(begun > 0);
}

async fn no_family_outlives_a_password_change_that_races_with_its_login(stores: Pair) {
    no_family_outlives(stores, |store, id| async move {
        store.set_password(&id, Some(0), &hash(9), false, ending(T0)).await.unwrap().unwrap();
    })
    .await;
}

async fn no_family_outlives_the_user_whose_deletion_races_with_its_login(stores: Pair) {
    no_family_outlives(stores, |store, id| async move {
        assert!(store.delete_user(&id, ending(T0)).await.unwrap())
    })
    .await;
}

async fn no_family_outlives_the_user_whose_disabling_races_with_its_login(stores: Pair) {
    no_family_outlives(stores, |store, id| async move {
        store.set_user_status(&id, Status::Disabled, ending(T0)).await.unwrap().unwrap();
    })
    .await;
}

/// Whoever of them was first: once both are answered, no token of the family is good.
async fn no_token_outlives_the_user_whose_deletion_races_with_its_rotation(stores: Pair) {
    let mut rotated = 0;
    for round in 0..20 {
        let id = user_id(round + 1);
        let user = NewUser { id: id.clone(), ..new_user(1, &format!("user{round}")) };
        stores[0].insert_user(user).await.unwrap();
        let mut new = new_family(round, 0);
        let token = |number: u8| {
            let mut token = [number; 32];
            token[..8].copy_from_slice(&round.to_be_bytes());
            Digest::from_bytes(token)
        };
        (new.family.subject, new.token) = (id.clone(), token(0));
        assert!(stores[0].begin_family(&new).await.unwrap());
        let rotate = |spent: u8, successor: u8| Rotation {
            spent: token(spent),
            successor: token(successor),
            ..rotation(0, 0)
        };
        let raced = at_once(32, |number| {
            let (store, id) = (Arc::clone(&stores[number % 2]), id.clone());
            let rotate = rotate(0, u8::try_from(number).unwrap() + 1);
            async move {
                if number == 16 {
                    assert!(store.delete_user(&id, ending(T0)).await.unwrap());
                    return false;
                }
                store.rotate(&rotate).await.unwrap()
            }
        })
        .await;
        rotated += raced.into_iter().filter(|rotated| *rotated).count();
        assert!(!family_is_alive(&*stores[1], &new.token, T0).await, "round {round}");
        for number in 0..=33 {
            assert!(!stores[1].rotate(&rotate(number, 100)).await.unwrap(), "round {round}: {number}");
        }
    }
    assert!(rotated > 0);
}

/// Login attempts are counted for all replicas together (P06).
async fn p06_a_burst_over_replicas_gets_no_more_than_the_limit(stores: Pair) {
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
