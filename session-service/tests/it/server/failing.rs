use std::time::Duration;

use proto::session::v1 as wire;
use tonic::{Code, Status};

use crate::stack::{Stack, create, refused, secs};

fn unavailable<T: std::fmt::Debug>(result: Result<T, Status>) {
    let status = result.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(chassis::status::retry_after(&status).is_some(), "says when to come back");
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_no_refused_login() {
    let stack = Stack::start().await;
    stack.issuer.go_away();
    unavailable(stack.gateway().create(create(stack.proof("usr_1"))).await);
    let mut forged = stack.proof("usr_1");
    forged.pop();
    unavailable(stack.gateway().create(create(forged)).await);
}

#[tokio::test]
async fn keys_that_are_known_go_on_while_auth_service_is_away() {
    let stack = Stack::start().await;
    stack.log_in("usr_1").await;
    stack.issuer.go_away();
    stack.clock.advance(secs(60));
    stack.log_in("usr_1").await;
    let stranger = crate::issuer::Issuer::new();
    let foreign = stranger.sign(&stranger.claims("usr_1", chassis::clock::Clock::now(&*stack.clock)));
    unavailable(stack.gateway().create(create(foreign)).await);
}

/// Holds the write lock, so that SQLite answers SQLITE_BUSY.
#[tokio::test]
async fn a_store_that_cannot_be_written_is_unavailable_and_reads_go_on() {
    let stack = Stack::start_with(&[("store.write_wait", "250ms")]).await;
    let gateway = stack.gateway();
    let (session, secret) = stack.log_in("usr_1").await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(stack.database());
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let lock = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    unavailable(gateway.create(create(stack.proof("usr_1"))).await);
    unavailable(gateway.log_out(&secret).await);
    unavailable(gateway.rotate(&secret).await);
    unavailable(gateway.end_by_id(&session.id).await);
    unavailable(gateway.end_subject("usr_1").await);
    let attributes = wire::SetAttributesRequest { id: session.id.clone(), ..Default::default() };
    unavailable(gateway.set_attributes(attributes).await);
    gateway.resolve(&secret).await.unwrap();
    lock.rollback().await.unwrap();
    assert!(gateway.log_out(&secret).await.unwrap());
    pool.close().await;
}

/// Takes the table away under the running service.
#[tokio::test]
async fn a_store_that_cannot_be_read_is_unavailable_and_never_not_found() {
    let stack = Stack::start().await;
    let gateway = stack.gateway();
    let (session, secret) = stack.log_in("usr_1").await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(stack.database());
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("ALTER TABLE sessions RENAME TO away").execute(&pool).await.unwrap();
    unavailable(gateway.resolve(&secret).await);
    unavailable(gateway.rotate(&secret).await);
    unavailable(gateway.log_out(&secret).await);
    unavailable(gateway.end_others(&secret).await);
    unavailable(gateway.get(&session.id).await);
    unavailable(gateway.list(wire::ListSessionsRequest::default()).await);
    unavailable(gateway.create(create(stack.proof("usr_1"))).await);
    sqlx::query("ALTER TABLE away RENAME TO sessions").execute(&pool).await.unwrap();
    gateway.resolve(&secret).await.unwrap();
    // A row that cannot be is nobody's session, and no "not found" either.
    sqlx::query("UPDATE sessions SET methods = 'pwd'").execute(&pool).await.unwrap();
    unavailable(gateway.resolve(&secret).await);
    pool.close().await;
}

#[tokio::test]
async fn answers_say_nothing_of_what_is_within() {
    let stack = Stack::start().await;
    let (_, secret) = stack.log_in("usr_1").await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(stack.database());
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("ALTER TABLE sessions RENAME TO away").execute(&pool).await.unwrap();
    let status = stack.gateway().resolve(&secret).await.unwrap_err();
    let shown = format!("{status:?}");
    for inner in ["sessions s", "no such table", "sqlite", &secret] {
        assert!(!shown.contains(inner), "{shown}");
    }
    assert_eq!(chassis::status::retry_after(&status), Some(Duration::from_secs(1)));
    assert_eq!(refused::<()>(Err(status)).1, "UNAVAILABLE");
    pool.close().await;
}
