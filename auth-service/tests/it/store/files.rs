//! What is particular to the SQLite adapter: its rows in a file. What can be wrong with the file is tested in the chassis.

use auth_service::{
    domain::user::Key,
    store::{Inserted, Store as _, StoreError, sqlite::OpenError},
};
use sqlx::{Connection as _, Executor as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::*;

async fn open(path: &std::path::Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(&sqlite_settings(path)).await
}

async fn by_hand(path: &std::path::Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    connection.execute(sql).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn what_was_written_is_found_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.sqlite");
    let store = open(&path).await.unwrap();
    assert_eq!(store.insert_user(new_user(1, "alice")).await.unwrap(), Inserted::Done);
    store.close().await;
    let store = open(&path).await.unwrap();
    assert!(store.user(&Key::Id(user_id(1))).await.unwrap().is_some());
}

#[tokio::test]
async fn an_impossible_row_is_corrupt_and_not_absent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.sqlite");
    let store = open(&path).await.unwrap();
    store.insert_user(new_user(1, "alice")).await.unwrap();
    by_hand(&path, "UPDATE users SET password_hash = 'plain', epoch = -1").await;
    assert!(matches!(store.user(&Key::Id(user_id(1))).await, Err(StoreError::Corrupt("epoch"))));
    assert!(matches!(store.account("alice").await, Err(StoreError::Corrupt("password hash"))));
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_is_unavailable() {
    let it = sqlite().await.with_family().await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("auth.sqlite")).await.unwrap();
    store.close().await;
    assert!(matches!(store.user(&Key::Id(user_id(1))).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.insert_user(new_user(1, "alice")).await, Err(StoreError::Unavailable(_))));
    assert!(it.store.user(&Key::Id(user_id(1))).await.unwrap().is_some(), "another is not concerned");
}
