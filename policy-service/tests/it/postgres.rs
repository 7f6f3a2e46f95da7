//! What is PostgreSQL's own: replicas on one schema, a server that fails, and starts that wait for one.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Command;
use std::sync::Arc;

use policy_service::domain::Revision;
use policy_service::store::postgres::{PostgresSettings, PostgresStore};
use policy_service::store::{Store, StoreError};
use proto::policy::v1 as wire;
use servers::{Postgres, Sync};
use tokio::task::JoinSet;

use crate::conformance::{allowed, grouped, held, joined, migrated, put, revision, schema_on};
use crate::names::user;
use crate::process::{Service, refused};
use crate::stack::{Client, Stack, call, check, create_grant, put_role};
use crate::unavailable::everything_is_unavailable;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_write_one_schema_wait_for_each_other() {
    let server = Postgres::start(Sync::Off);
    let settings = schema_on(&server);
    let stores: [Arc<dyn Store>; 2] =
        [Arc::new(migrated(&settings).await), Arc::new(migrated(&settings).await)];
    let mut writers = JoinSet::new();
    for number in 0..40 {
        let store = stores[number % 2].clone();
        writers.spawn(async move { put(&*store, &format!("role{number}"), &["document:read"]).await });
    }
    let revisions: BTreeSet<Revision> = writers.join_all().await.into_iter().collect();
    assert_eq!(revisions, (2..42).map(Revision).collect());
    for store in stores {
        assert_eq!(revision(&*store).await, Revision(41), "what one writes the other reads at once");
    }
}

/// Commits that nobody waits for stay in its memory for ten seconds.
const FORGETFUL: [&str; 2] = ["synchronous_commit=off", "wal_writer_delay=10s"];

#[tokio::test]
async fn what_was_answered_survives_the_kill_of_the_server() {
    let mut server = Postgres::start(Sync::On);
    server.stop();
    server.restart_with(&FORGETFUL);
    server.psql("CREATE TABLE forgotten (round BIGINT)");
    for round in 1..=5 {
        let store = migrated(&schema_on(&server)).await;
        put(&store, &format!("role{round}"), &["document:write"]).await;
        held(&store, round, user(round), &format!("role{round}"), None).await;
        // The control, last: whoever waits for a later commit waits for this too.
        server.psql(&format!("INSERT INTO forgotten VALUES ({round})"));
        server.kill();
        server.restart_with(&FORGETFUL);
        assert_eq!(server.psql("SELECT count(*) FROM forgotten"), "0", "nothing would be lost anyway");
        let store = migrated(&schema_on(&server)).await;
        assert_eq!(revision(&store).await, Revision(1 + 2 * u64::from(round)));
        assert!(allowed(&store, user(round), "document:write", None).await);
    }
}

/// A database that was deposed may still answer what it read; what it read does not hold everywhere.
#[tokio::test]
async fn what_is_as_it_was_to_be_is_committed_as_a_write() {
    let server = Postgres::start(Sync::Off);
    let store = migrated(&schema_on(&server)).await;
    put(&store, "editor", &["document:write"]).await;
    held(&store, 1, user(1), "editor", None).await;
    grouped(&store, &["staff"]).await;
    joined(&store, "staff", user(1)).await;
    let settled = revision(&store).await;
    // The number that the next transaction that writes will have, and what became of one.
    let next = || server.psql("SELECT pg_snapshot_xmax(pg_current_snapshot())").parse::<u64>().unwrap();
    let is_committed = |number: u64| {
        server.psql(&format!("SELECT pg_xact_status('{number}')")) == "committed" && next() == number + 1
    };

    let first = next();
    assert!(allowed(&store, user(1), "document:write", None).await);
    assert_eq!(next(), first, "the control: this only reads");
    assert_eq!(put(&store, "editor", &["document:write"]).await, settled);
    assert!(is_committed(first), "the role");
    held(&store, 2, user(1), "editor", None).await;
    assert!(is_committed(first + 1), "the grant");
    joined(&store, "staff", user(1)).await;
    assert!(is_committed(first + 2), "the member");
    assert_eq!(store.forget(&user(2)).await.unwrap(), settled);
    assert!(is_committed(first + 3), "who left no trace");
    assert_eq!(revision(&store).await, settled);
}

#[tokio::test]
async fn an_impossible_row_is_corruption_and_no_answer() {
    let server = Postgres::start(Sync::Off);
    let store = migrated(&schema_on(&server)).await;
    put(&store, "editor", &["document:write"]).await;
    held(&store, 1, user(1), "editor", None).await;
    server.psql("UPDATE policy.grants SET id = 'nonsense'");
    let error = store.holdings_of(&user(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
}

#[tokio::test]
async fn other_services_schemas_on_the_same_database_are_left_alone() {
    let server = Postgres::start(Sync::Off);
    let one = migrated(&schema_on(&server)).await;
    let other = migrated(&PostgresSettings { schema: "other".to_owned(), ..schema_on(&server) }).await;
    put(&one, "editor", &["document:write"]).await;
    assert_eq!(revision(&one).await, Revision(2));
    assert_eq!(revision(&other).await, Revision(1));
    assert_eq!(PostgresStore::migrate(&schema_on(&server)).await.unwrap().migrations, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_fails_is_unavailable_to_every_rpc_and_comes_back_by_itself() {
    let mut server = Postgres::start(Sync::Off);
    drop(migrated(&schema_on(&server)).await);
    let url = server.url();
    let stack =
        Stack::start_with(&[("LATCHKEY__STORE__URL", &url), ("LATCHKEY__STORE__TIMEOUT", "400ms")]).await;
    let Client { mut checks, mut admin, .. } = stack.client("gateway");
    admin.put_role(call(put_role("editor", &["document:read"]))).await.unwrap();
    admin.create_grant(call(create_grant(user_of_call(), "editor", None))).await.unwrap();
    // Until it is itself again it may refuse; it never denies.
    let mut heals = async || {
        loop {
            if let Ok(answer) = checks.check(call(check(user_of_call(), "document:read", None))).await {
                return assert_eq!(answer.into_inner().decision, wire::Decision::Allow as i32);
            }
        }
    };

    server.freeze();
    everything_is_unavailable(&stack).await;
    server.resume();
    heals().await;

    server.kill();
    everything_is_unavailable(&stack).await;
    assert!(stack.lifecycle.is_ready(), "once ready it stays");
    server.restart();
    heals().await;
}

fn user_of_call() -> Option<wire::Subject> {
    crate::stack::user(1)
}

#[test]
fn a_start_waits_for_its_database_and_can_be_stopped_while_it_does() {
    let service = Service::new();
    let port = servers::free_port();
    let mut child = service
        .command()
        .env("LATCHKEY__STORE__URL", format!("postgres://latchkey@127.0.0.1:{port}/latchkey"))
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
    let waits = log.find(|line| line.as_ref().unwrap().contains("waiting for the database latchkey at"));
    assert!(waits.unwrap().unwrap().contains(&port.to_string()));
    let sent = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_role_that_the_server_does_not_know_is_told_in_one_line() {
    let server = Postgres::start(Sync::Off);
    let url = format!("postgres://nobody@127.0.0.1:{}/latchkey", server.port());
    let said = refused(&Service::new().command().env("LATCHKEY__STORE__URL", url).output().unwrap());
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("nobody") && said[0].contains("store.password_file"), "{said:?}");
}
