//! What is PostgreSQL's own: replicas on one schema, and what survives the kill of the server.

use std::sync::Arc;

use servers::{Postgres, Sync};
use session_service::domain::{AtLimit, EndReason, Limit};
use session_service::store::postgres::PostgresStore;
use session_service::store::{Created, Ending, NewSession, Rotated, SessionStore};

use super::{all_at_once, at, create, found, id, login, migrated, rotation, schema_on, secret};

async fn two_on(server: &Postgres) -> [PostgresStore; 2] {
    [migrated(&schema_on(server)).await, migrated(&schema_on(server)).await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s11_the_limit_holds_over_replicas() {
    let server = Postgres::start(Sync::Off);
    let stores = two_on(&server).await;
    let limit = Limit { most: 3, at_limit: AtLimit::Refuse };
    let created = all_at_once((0..50).map(|number| {
        let store = stores[usize::try_from(number % 2).unwrap()].clone();
        async move { store.create(NewSession { limit, ..login(number, "alice", at(0)) }).await.unwrap() }
    }))
    .await;
    let stored = created.iter().filter(|one| matches!(one, Created::Stored { .. })).count();
    assert_eq!(stored, 3, "{created:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_rotations_that_race_on_replicas_one_is_done() {
    let server = Postgres::start(Sync::Off);
    let stores = two_on(&server).await;
    create(&(Arc::new(stores[0].clone()) as super::Store), login(1, "alice", at(0))).await;
    let rotated = all_at_once((0..50_u64).map(|number| {
        let store = stores[usize::try_from(number % 2).unwrap()].clone();
        async move { store.rotate(rotation(1, 1, 100 + number, at(1))).await.unwrap() }
    }))
    .await;
    assert_eq!(rotated.iter().filter(|one| **one == Rotated::Done).count(), 1, "{rotated:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s03_the_former_session_ends_although_it_rotates_at_that_moment() {
    let server = Postgres::start(Sync::Off);
    let [one, other] = two_on(&server).await;
    let store = Arc::new(one.clone()) as super::Store;
    for round in 0..40_u64 {
        let (old, rotated, new) = (1000 + round, 2000 + round, 3000 + round);
        create(&store, login(old, "alice", at(0))).await;
        let replacing = NewSession { former: Some(secret(old).digest()), ..login(new, "alice", at(1)) };
        let (created, _) =
            tokio::join!(one.create(replacing), other.rotate(rotation(old, old, rotated, at(1))));
        assert!(matches!(created.unwrap(), Created::Stored { .. }));
        for former in [old, rotated] {
            assert_eq!(found(&store, former, at(2)).await, None, "round {round}");
        }
        store.end(Ending::One(id(new)), EndReason::Logout, at(3)).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_answered_survives_the_kill_of_the_server() {
    let mut server = Postgres::start(Sync::On);
    for round in 1..=5 {
        let store = Arc::new(migrated(&schema_on(&server)).await) as super::Store;
        create(&store, login(round, "alice", at(0))).await;
        create(&store, login(100 + round, "alice", at(0))).await;
        assert_eq!(store.end(Ending::One(id(100 + round)), EndReason::Logout, at(1)).await.unwrap().len(), 1);
        server.kill();
        server.restart();
        let store = Arc::new(migrated(&schema_on(&server)).await) as super::Store;
        assert_eq!(found(&store, round, at(2)).await, Some(id(round)));
        assert_eq!(found(&store, 100 + round, at(2)).await, None);
    }
}
