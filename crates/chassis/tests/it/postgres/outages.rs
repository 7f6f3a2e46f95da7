//! A server that fails while it is used.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use latchkey_chassis::lifecycle::Exit;
use latchkey_chassis::postgres::Database;
use tokio::sync::Barrier;

use super::{Place, number, raise, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn work_that_lost_a_deadlock_is_done_again_and_once() {
    let (_place, database) = Place::opened().await;
    let (tries, both_hold_one) = (AtomicUsize::new(0), Barrier::new(2));
    let cross = async |first: i64, second: i64| {
        let is_first_try = AtomicUsize::new(0);
        let (tries, both_hold_one) = (&tries, &both_hold_one);
        let is_first_try = &is_first_try;
        let done: Result<(), sqlx::Error> = database
            .run("test", |attempt| async move {
                let mut transaction = attempt.begin().await?;
                tries.fetch_add(1, Ordering::Relaxed);
                raise(&mut transaction, first).await?;
                if is_first_try.fetch_add(1, Ordering::Relaxed) == 0 {
                    both_hold_one.wait().await;
                }
                raise(&mut transaction, second).await?;
                transaction.commit().await
            })
            .await;
        done
    };
    let (one, other) = tokio::join!(cross(1, 2), cross(2, 1));
    one.unwrap();
    other.unwrap();
    assert_eq!(tries.into_inner(), 3, "one of them was tried twice");
    for id in [1, 2] {
        assert_eq!(read(&database, id).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn what_always_conflicts_is_given_up_after_four_tries() {
    let (_place, database) = Place::opened().await;
    let tries = AtomicUsize::new(0);
    let conflict = "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$";
    let failed: Result<(), sqlx::Error> = database
        .run("test", |attempt| {
            tries.fetch_add(1, Ordering::Relaxed);
            async move { sqlx::query(conflict).execute(&mut *attempt.begin().await?).await.map(drop) }
        })
        .await;
    assert_eq!(failed.unwrap_err().as_database_error().unwrap().code().unwrap(), "40001");
    assert_eq!(tries.into_inner(), 4);
}

#[tokio::test]
async fn a_transaction_that_fails_leaves_nothing() {
    let (_place, database) = Place::opened().await;
    let failed: Result<(), sqlx::Error> = database
        .run("test", |attempt| async move {
            raise(&mut *attempt.begin().await?, 1).await?;
            Err(sqlx::Error::RowNotFound)
        })
        .await;
    assert!(matches!(failed, Err(sqlx::Error::RowNotFound)));
    assert_eq!(read(&database, 1).await.unwrap(), 0);
}

#[tokio::test]
async fn a_snapshot_sees_one_moment() {
    let (_place, database) = Place::opened().await;
    let seen: Result<(i64, i64), sqlx::Error> = database
        .run("test", |attempt| async move {
            let mut snapshot = attempt.snapshot().await?;
            let before = number(&mut snapshot, 1).await?;
            raise(&mut *attempt.connection().await?, 1).await?;
            Ok((before, number(&mut snapshot, 1).await?))
        })
        .await;
    assert_eq!(seen.unwrap(), (0, 0));
    assert_eq!(read(&database, 1).await.unwrap(), 1);
    let written: Result<(), sqlx::Error> =
        database.run("test", |attempt| async move { raise(&mut *attempt.snapshot().await?, 1).await }).await;
    assert!(written.is_err(), "nothing is written in one");
}

/// With a deadline that a frozen server is sure to miss.
async fn impatient(place: &mut Place) -> Database {
    place.settings.timeout = Duration::from_millis(300);
    place.settings.connections = 2;
    place.open().await.unwrap()
}

#[tokio::test]
async fn a_frozen_server_is_an_error_in_time_and_costs_no_connection() {
    let (mut place, _) = Place::opened().await;
    let database = impatient(&mut place).await;
    place.server.freeze();
    // More often than there are connections: each of them must be lent again.
    for _ in 0..5 {
        let failed = read(&database, 1).await;
        assert!(matches!(failed, Err(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut)), "{failed:?}");
    }
    place.server.resume();
    heals(&database).await;
}

/// The process stays ready, and says what it lacks.
#[tokio::test]
async fn an_outage_is_said_and_so_is_its_end() {
    let (mut place, _) = Place::opened().await;
    let database = impatient(&mut place).await;
    let store = place.lifecycle.readiness("store");
    store.ready();
    assert!(place.lifecycle.is_ready());
    place.server.kill();
    let said = eventually(|| place.state().err()).await;
    assert!(said.starts_with("the database does not answer: "), "{said}");
    assert!(place.lifecycle.is_ready());
    place.server.restart();
    eventually(|| place.state().ok()).await;
    heals(&database).await;
}

/// A process that stops closes its store first, and that is no failure.
#[tokio::test]
async fn a_database_that_was_closed_is_not_lost() {
    let (place, database) = Place::opened().await;
    place.lifecycle.readiness("store").ready();
    database.close().await;
    // Longer than from one look to the next.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(place.state(), Ok(()));
    place.lifecycle.trigger();
    assert_eq!(place.lifecycle.run_until_stopped().await, Exit::Clean);
}

/// What will come; a machine under load is slow.
async fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_caller_who_goes_away_costs_no_connection() {
    let (mut place, _) = Place::opened().await;
    let database = impatient(&mut place).await;
    place.server.freeze();
    for _ in 0..5 {
        let asked = read(&database, 1);
        tokio::time::timeout(Duration::from_millis(20), asked).await.unwrap_err();
    }
    place.server.resume();
    heals(&database).await;
}

#[tokio::test]
async fn connections_that_the_server_ends_are_replaced() {
    let (mut place, _) = Place::opened().await;
    let database = impatient(&mut place).await;
    heals(&database).await;
    place.server.kill();
    let failed = read(&database, 1).await;
    assert!(failed.is_err());
    place.server.restart();
    heals(&database).await;
}

/// Asks until there is an answer: how soon is a benchmark's question.
async fn heals(database: &Database) {
    while read(database, 1).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_answer_is_durable_whatever_the_role_says() {
    for (says, holds) in [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")] {
        let (place, _) = Place::opened().await;
        place.server.psql(&format!("ALTER ROLE latchkey SET synchronous_commit = {says}"));
        let database = place.open().await.unwrap();
        assert_eq!(shown(&database, "synchronous_commit").await, holds);
    }
}

/// So that what nobody waits for any more ends by itself, and its locks with it: a statement, a transaction that its process
/// left, and a peer that is gone without a word.
#[tokio::test]
async fn nothing_is_held_for_somebody_who_is_gone() {
    let (mut place, _) = Place::opened().await;
    let database = impatient(&mut place).await;
    let timeout = place.settings.timeout.as_millis();
    for (name, millis) in [
        ("statement_timeout", timeout),
        ("idle_in_transaction_session_timeout", 4 * timeout),
        ("tcp_user_timeout", 4 * timeout),
    ] {
        let unit = "SELECT setting || unit FROM pg_settings WHERE name = ";
        assert_eq!(asked(&database, format!("{unit}'{name}'")).await, format!("{millis}ms"), "{name}");
    }
}

async fn shown(database: &Database, setting: &str) -> String {
    asked(database, format!("SHOW {setting}")).await
}

async fn asked(database: &Database, query: String) -> String {
    let answer: Result<String, sqlx::Error> = database
        .run("test", |attempt| {
            let query = query.clone();
            async move {
                sqlx::query_scalar(sqlx::AssertSqlSafe(query))
                    .fetch_one(&mut *attempt.connection().await?)
                    .await
            }
        })
        .await;
    answer.unwrap()
}
