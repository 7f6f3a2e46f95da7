//! Races of two replicas on one store: two connections to one Redis, two pools on one PostgreSQL schema, two writers on one
//! SQLite file. What is raced within one process, the conformance suite has.

use session_service::domain::{AtLimit, EndReason, Limit};
use session_service::store::{Created, Ending, NewSession, Rotated};

use super::*;

macro_rules! on_every_pair {
    ($($race:ident),* $(,)?) => {
        mod on_sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $race() {
                let folder = tempfile::tempdir().unwrap();
                let settings = sqlite_at(&folder.path().join("session.sqlite"));
                let open = async || Arc::new(SqliteStore::open(&settings).await.unwrap()) as Store;
                super::$race([open().await, open().await]).await;
            })*
        }
        mod on_postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $race() {
                let server = Postgres::start(Sync::Off);
                let open = async || Arc::new(migrated(&schema_on(&server)).await) as Store;
                super::$race([open().await, open().await]).await;
            })*
        }
        mod on_redis {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $race() {
                let (server, lives) = (Redis::start(), [0; 2].map(|_| Lifecycle::new(Shutdown::default())));
                let open =
                    async |life| Arc::new(store_on(&server, life, Duration::from_secs(30)).await) as Store;
                super::$race([open(&lives[0]).await, open(&lives[1]).await]).await;
            })*
        }
    };
}

on_every_pair! {
    s11_the_limit_holds_over_replicas,
    what_happens_once_happens_once_over_replicas,
    s03_the_former_session_ends_although_it_rotates_at_that_moment,
}

/// One and the other in turn.
fn nth(stores: &[Store; 2], number: u64) -> Store {
    stores[usize::try_from(number % 2).unwrap()].clone()
}

async fn s11_the_limit_holds_over_replicas(stores: [Store; 2]) {
    for (subject, at_limit) in [("alice", AtLimit::Refuse), ("bob", AtLimit::EndOldest)] {
        let limit = Limit { most: 3, at_limit };
        let numbers = if subject == "alice" { 0..100_u64 } else { 100..200 };
        let created =
            all_at_once(
                numbers.map(|number| {
                    let store = nth(&stores, number);
                    async move {
                        store.create(NewSession { limit, ..login(number, subject, at(0)) }).await.unwrap()
                    }
                }),
            )
            .await;
        let ended = created.iter().filter_map(|one| match one {
            Created::Stored { ended } => Some(ended.len()),
            Created::ProofSpent | Created::LimitReached => None,
        });
        let (stored, ended) = (ended.clone().count(), ended.sum::<usize>());
        assert_eq!(stored - ended, 3, "{subject}: {created:?}");
        assert_eq!(stored, if at_limit == AtLimit::Refuse { 3 } else { 100 });
    }
}

async fn what_happens_once_happens_once_over_replicas(stores: [Store; 2]) {
    let proof = login(1, "alice", at(0)).proof;
    let created =
        all_at_once((1..=60).map(|number| {
            let (store, proof) = (nth(&stores, number), proof.clone());
            async move {
                (number, store.create(NewSession { proof, ..login(number, "alice", at(0)) }).await.unwrap())
            }
        }))
        .await;
    let winners: Vec<u64> = created
        .iter()
        .filter(|(_, one)| matches!(one, Created::Stored { .. }))
        .map(|(number, _)| *number)
        .collect();
    let [winner] = winners[..] else { panic!("{created:?}") };

    let rotated = all_at_once((0..60).map(|number| {
        let store = nth(&stores, number);
        async move { store.rotate(rotation(winner, winner, 1_000 + number, at(1))).await.unwrap() }
    }))
    .await;
    assert_eq!(rotated.iter().filter(|one| **one == Rotated::Done).count(), 1, "{rotated:?}");

    let ended = all_at_once((0..60).map(|number| {
        let store = nth(&stores, number);
        async move { store.end(Ending::One(id(winner)), EndReason::Logout, at(2)).await.unwrap().len() }
    }))
    .await;
    assert_eq!(ended.into_iter().sum::<usize>(), 1);
}

/// Subjects in one shard and in two, which in Redis is two transitions.
async fn s03_the_former_session_ends_although_it_rotates_at_that_moment([one, other]: [Store; 2]) {
    for round in 0..60_u64 {
        let first = if round % 2 == 0 { 1000 } else { ELSEWHERE };
        let (old, rotated, new) = (first + round, first + 1000 + round, 3000 + round);
        create(&one, login(old, "usr_1", at(0))).await;
        let replacing = NewSession { former: Some(secret(old).digest()), ..login(new, "usr_1", at(1)) };
        let (created, _) =
            tokio::join!(one.create(replacing), other.rotate(rotation(old, old, rotated, at(1))));
        let Created::Stored { ended } = created.unwrap() else { panic!("round {round}") };
        assert_eq!(ids(&ended), [(id(old), EndReason::Replaced)], "round {round}");
        for former in [old, rotated] {
            assert_eq!(found(&one, former, at(2)).await, None, "round {round}");
        }
        assert_eq!(found(&other, new, at(2)).await, Some(id(new)));
        one.end(Ending::One(id(new)), EndReason::Logout, at(3)).await.unwrap();
    }
}
