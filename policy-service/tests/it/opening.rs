//! A policy's rows in a file, which others open too. What can be wrong with the file is tested in the chassis.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use policy_service::domain::Revision;
use policy_service::store::Store;
use policy_service::store::sqlite::{OpenError, SqliteStore};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::conformance::{allowed, entries, held, put, revision, settings};
use crate::names::user;

async fn open(folder: &TempDir) -> Result<Arc<dyn Store>, OpenError> {
    Ok(Arc::new(SqliteStore::open(&settings(folder), entries()).await?))
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path).create_if_missing(true))
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await.unwrap();
    put(&*store, "editor", &["document:write"]).await;
    held(&*store, 1, user(1), "editor", None).await;
    store.close().await;

    let store = open(&folder).await.unwrap();
    assert_eq!(revision(&*store).await, Revision(3));
    assert!(allowed(&*store, user(1), "document:write", None).await);

    // Also for a second process on the same file, and what one writes the other reads at once.
    let second = open(&folder).await.unwrap();
    put(&*second, "editor", &[]).await;
    assert!(!allowed(&*store, user(1), "document:write", None).await);
    assert_eq!(revision(&*store).await, Revision(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_that_write_one_file_wait_for_each_other() {
    let folder = TempDir::new().unwrap();
    let stores = [open(&folder).await.unwrap(), open(&folder).await.unwrap()];
    let mut writers = JoinSet::new();
    for number in 0..40 {
        let store = stores[number % 2].clone();
        writers.spawn(async move { put(&*store, &format!("role{number}"), &["document:read"]).await });
    }
    let revisions: BTreeSet<Revision> = writers.join_all().await.into_iter().collect();
    assert_eq!(revisions, (2..42).map(Revision).collect());
}

#[tokio::test]
async fn an_impossible_row_is_corruption_and_no_answer() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await.unwrap();
    put(&*store, "editor", &["document:write"]).await;
    held(&*store, 1, user(1), "editor", None).await;
    let mut connection = raw(&settings(&folder).path).await;
    sqlx::query("UPDATE grants SET id = 'nonsense'").execute(&mut connection).await.unwrap();
    let error = store.holdings_of(&user(1)).await.unwrap_err();
    assert!(matches!(error, policy_service::store::StoreError::Corrupt(_)), "{error:?}");
}
