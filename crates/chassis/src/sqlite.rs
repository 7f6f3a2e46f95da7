//! One SQLite file as a service's store: for one machine, and for a first look. Only with the feature `sql`.
//!
//! WAL with `synchronous = FULL`: readers neither wait for the writer nor hold it up, and what was answered survives
//! `kill -9` and a power cut. One connection writes, so that writers queue here and not in SQLite's busy handler; a few
//! others read beside it. What the tables are is the service's own affair.

mod open;

use std::path::PathBuf;
use std::time::Duration;

use sqlx::{Sqlite, SqlitePool, Transaction};

pub use open::OpenError;

use crate::telemetry::traces;

/// Where the file is, and how long calls wait for it.
#[derive(Debug, Clone)]
pub struct Settings {
    pub path: PathBuf,
    /// Connections that answer reads, each with a thread of its own.
    pub readers: u32,
    /// How long a read waits for a connection before the store counts as out of reach.
    pub read_wait: Duration,
    /// How long a write waits for its turn, and then for another process's lock.
    pub write_wait: Duration,
}

/// An open file. Cloned freely: it is two pools.
#[derive(Debug, Clone)]
pub struct Database {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Database {
    /// The connection for single statements that write.
    pub fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// Connections that can only read.
    pub fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// A transaction that has the write lock from its beginning: one that upgraded later could fail half-way, or write
    /// what it decided on rows that another process has changed since.
    pub async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// A read of several statements in one snapshot, which its first statement takes.
    pub async fn read(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.readers.begin().await
    }

    /// Does `work` on this file, whatever it is. `operation` is what traces call it.
    pub async fn run<T, E>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        traces::storing("sqlite", operation, work).await
    }

    /// Finishes what is under way and folds the log back into the file.
    pub async fn close(&self) {
        // Readers first: the last connection to close folds, and a reader may not write.
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Whether the file is damaged or no database, or a row is not what its table promises.
pub fn is_corruption(error: &sqlx::Error) -> bool {
    let row = matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_));
    row || matches!(primary_code(error), Some(SQLITE_CORRUPT | SQLITE_NOTADB))
}

// Primary result codes, https://www.sqlite.org/rescode.html
const SQLITE_PERM: u32 = 3;
const SQLITE_BUSY: u32 = 5;
const SQLITE_READONLY: u32 = 8;
const SQLITE_CORRUPT: u32 = 11;
const SQLITE_CANTOPEN: u32 = 14;
const SQLITE_AUTH: u32 = 23;
const SQLITE_NOTADB: u32 = 26;

/// SQLite's result code without what extends it.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let extended: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}
