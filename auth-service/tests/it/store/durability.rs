//! What was acknowledged survives the kill of PostgreSQL (FAULTS section 1), also where the server is set up to forget:
//! commits that nobody waits for stay in its memory here for ten seconds.
//!
//! The negative control says what that set-up does to somebody who lets it: the same kill loses what was acknowledged.

use std::sync::atomic::{AtomicUsize, Ordering};

use auth_service::{
    domain::user::Key,
    store::{FamilyEnd, StoreError},
};
use sqlx::{Connection as _, PgConnection};

use super::*;

const FORGETFUL: [&str; 2] = ["synchronous_commit=off", "wal_writer_delay=10s"];
const WRITERS: usize = 4;

fn forgetful() -> Postgres {
    let mut server = Postgres::start(Sync::On);
    server.stop();
    server.restart_with(&FORGETFUL);
    server
}

/// What one writer was told before the server died.
#[derive(Default)]
struct Ledger {
    users: Vec<UserId>,
    begun: Vec<Digest>,
    ended: Vec<Digest>,
}

/// Writes until the store does not answer. Each object's number tells the writer.
async fn write(store: &dyn Store, writer: usize, acknowledged: &AtomicUsize) -> Ledger {
    let mut ledger = Ledger::default();
    for number in (writer..).step_by(WRITERS) {
        if step(store, number, &mut ledger).await.is_err() {
            break;
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    ledger
}

/// A user, one family that stays and one that is ended.
async fn step(store: &dyn Store, number: usize, ledger: &mut Ledger) -> Result<(), StoreError> {
    let id = user_id(number);
    let user = NewUser { id: id.clone(), ..new_user(1, &format!("user{number}")) };
    assert_eq!(store.insert_user(user).await?, Inserted::Done);
    ledger.users.push(id.clone());
    for (which, family) in [family_id(2 * number), family_id(2 * number + 1)].into_iter().enumerate() {
        let mut new = new_family(0, 0);
        let mut token = [0; 32];
        token[..8].copy_from_slice(&(2 * number + which).to_be_bytes());
        (new.family.id, new.family.subject) = (family.clone(), id.clone());
        new.token = Digest::from_bytes(token);
        assert!(store.begin_family(&new).await?);
        if which == 0 {
            ledger.begun.push(new.token);
        } else if store.end_family(&family, None, FamilyEnd::Logout, ending(T0)).await? {
            ledger.ended.push(new.token);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_answered_survives_the_kill_of_the_server() {
    let mut server = forgetful();
    let settings = schema_on(&server);
    let store: Arc<dyn Store> = Arc::new(migrated(&settings).await);
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, acknowledged) = (Arc::clone(&store), Arc::clone(&acknowledged));
        writers.spawn(async move { write(&*store, writer, &acknowledged).await });
    }
    while acknowledged.load(Ordering::Relaxed) < 200 {
        tokio::task::yield_now().await;
    }
    server.kill();
    let ledgers = writers.join_all().await;
    server.restart_with(&FORGETFUL);
    let store = migrated(&schema_on(&server)).await;
    for ledger in &ledgers {
        for id in &ledger.users {
            assert!(store.user(&Key::Id(id.clone())).await.unwrap().is_some(), "{id}");
        }
        for token in &ledger.begun {
            assert!(family_is_alive(&store, token, T0).await, "{token:?}");
        }
        for token in &ledger.ended {
            assert!(!family_is_alive(&store, token, T0).await, "{token:?} was ended");
        }
    }
    assert!(ledgers.iter().map(|ledger| ledger.ended.len()).sum::<usize>() >= 200);
}

/// How many of 200 acknowledged rows the kill took.
async fn lost(synchronous_commit: &str) -> usize {
    let mut server = forgetful();
    server.psql("CREATE TABLE rows (id BIGINT PRIMARY KEY); CHECKPOINT");
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::query("SELECT set_config('synchronous_commit', $1, false)")
        .bind(synchronous_commit)
        .execute(&mut connection)
        .await
        .unwrap();
    for id in 0..200_i64 {
        sqlx::query("INSERT INTO rows VALUES ($1)").bind(id).execute(&mut connection).await.unwrap();
    }
    server.kill();
    server.restart_with(&FORGETFUL);
    200 - server.psql("SELECT count(*) FROM rows").parse::<usize>().unwrap()
}

#[tokio::test]
async fn the_same_kill_loses_what_was_committed_without_waiting() {
    assert!(lost("off").await > 0, "the control must fail, or the promise is not tested");
    assert_eq!(lost("on").await, 0);
}
