//! The SQLite adapter: what the suite needs, and what only it promises.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use latchkey_feed::{
    Position,
    log::{
        Log, Read,
        sqlite::{SCHEMA, SqliteLog, append_within},
    },
};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tempfile::TempDir;

use crate::{
    Subject, WALL,
    conformance::{numbered, one},
};

pub(crate) struct InFile {
    folder: TempDir,
}

impl InFile {
    pub(crate) async fn new() -> Self {
        let file = Self { folder: tempfile::tempdir().unwrap() };
        sqlx::raw_sql(SCHEMA).execute(&file.pool().await).await.unwrap();
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("feed.db")
    }

    async fn pool(&self) -> SqlitePool {
        let options = SqliteConnectOptions::new()
            .filename(self.path())
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(30));
        SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap()
    }
}

#[async_trait]
impl Subject for InFile {
    async fn open(&self) -> Arc<dyn Log> {
        let pool = self.pool().await;
        Arc::new(SqliteLog::new(pool.clone(), pool, || WALL))
    }

    async fn lose_tail(&self, count: usize) {
        let pool = self.pool().await;
        let lose = "DELETE FROM feed_log WHERE n > (SELECT max(n) FROM feed_log) - ?1";
        sqlx::query(lose).bind(count as i64).execute(&pool).await.unwrap();
        // A restored copy has its counter from back then, too.
        let counter = "UPDATE sqlite_sequence SET seq = (SELECT coalesce(max(n), 0) FROM feed_log) WHERE name = 'feed_log'";
        sqlx::query(counter).execute(&pool).await.unwrap();
    }
}

#[tokio::test]
async fn an_entry_is_committed_with_its_callers_transaction_or_not_at_all() {
    let file = InFile::new().await;
    let (pool, log) = (file.pool().await, file.open().await);
    sqlx::query("CREATE TABLE account (name TEXT NOT NULL, epoch INTEGER NOT NULL) STRICT")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("INSERT INTO account VALUES ('alice', 1)").execute(&pool).await.unwrap();
    for (commits, entries, epoch) in [(false, 0, 1), (true, 1, 2)] {
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
        sqlx::query("UPDATE account SET epoch = epoch + 1").execute(&mut *transaction).await.unwrap();
        let position = append_within(&mut transaction, &one(7)).await.unwrap().last;
        assert_eq!(position.number, 1);
        assert_eq!(numbered(&log.read(Position::START).await.unwrap()), []);
        if commits {
            transaction.commit().await.unwrap()
        } else {
            transaction.rollback().await.unwrap()
        }
        assert_eq!(numbered(&log.read(Position::START).await.unwrap()).len(), entries);
        let now: i64 = sqlx::query_scalar("SELECT epoch FROM account").fetch_one(&pool).await.unwrap();
        assert_eq!(now, epoch);
    }
}

#[tokio::test]
async fn a_log_outlives_everybody_who_had_it_open() {
    let file = InFile::new().await;
    let position = file.open().await.append(&one(7)).await.unwrap().last;
    let Read::Current { head, .. } = file.open().await.read(Position::START).await.unwrap() else { panic!() };
    assert_eq!(head, position);
}

#[tokio::test]
async fn an_impossible_row_is_an_error_and_no_entry() {
    let file = InFile::new().await;
    let log = file.open().await;
    let position = log.append(&one(7)).await.unwrap().last;
    let write = "PRAGMA ignore_check_constraints = 1; UPDATE feed_log SET what = 'everything'";
    sqlx::raw_sql(write).execute(&file.pool().await).await.unwrap();
    assert!(log.read(Position::START).await.is_err());
    assert!(log.snapshot().await.is_err());
    assert!(log.read(position).await.is_ok());
}
