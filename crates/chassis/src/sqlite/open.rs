//! Opens the file, or says in one sentence why not: a start that fails with one clear line is better than a service that
//! answers UNAVAILABLE for ever.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection, SqlitePool};
use tracing::log::LevelFilter;

use super::{
    Database, SQLITE_AUTH, SQLITE_BUSY, SQLITE_CANTOPEN, SQLITE_PERM, SQLITE_READONLY, Settings,
    is_corruption, primary_code,
};

/// Why a file cannot be the store. One line each, naming the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the database {} cannot be opened for reading and writing ({reason}): check that its folder exists and that this user may write to both", .path.display())]
    NotWritable { path: PathBuf, reason: String },
    #[error("the database {} is not an intact SQLite file ({reason}): restore it from a backup, or move it away to start empty", .path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("the database {} is not this service's: store.url must name a file of its own", .path.display())]
    Foreign { path: PathBuf },
    #[error("the database {} was written by a newer version (schema {found}, this version knows up to {known}), or by another service: start that version, or check store.url", .path.display())]
    FromTheFuture { path: PathBuf, found: i64, known: i64 },
    #[error("the schema of the database {} was changed by hand ({reason}): restore it from a backup", .path.display())]
    Altered { path: PathBuf, reason: String },
    #[error("the database {} is locked by another process", .path.display())]
    Locked { path: PathBuf },
    #[error("the database {} cannot be opened: {source}", .path.display())]
    Other {
        path: PathBuf,
        #[source]
        source: sqlx::Error,
    },
}

impl Database {
    /// Opens the file, creates it (mode 0600) where there is none, looks it over, and brings its schema up to date.
    /// Migrations only ever go forward; what they do not know is left as it is.
    pub async fn open(settings: &Settings, migrations: &Migrator) -> Result<Self, OpenError> {
        let path = settings.path.as_path();
        create_private(path)?;
        let failed = |error| OpenError::of(path, error);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What is deleted was private, or the seal of a secret: it is overwritten, not only unlinked.
            .pragma("secure_delete", "ON")
            .busy_timeout(settings.write_wait)
            // Not even at `debug`: a line a statement tells nobody anything.
            .log_statements(LevelFilter::Trace);
        let writer =
            connect(&pool(1, settings.write_wait), &options, settings.write_wait).await.map_err(failed)?;
        let opened = async {
            prepare(path, &writer, migrations).await?;
            let options = options.pragma("query_only", "ON");
            let readers = pool(settings.readers, settings.read_wait);
            connect(&readers, &options, settings.write_wait).await.map_err(failed)
        };
        match opened.await {
            Ok(readers) => Ok(Self { writer, readers }),
            Err(error) => {
                writer.close().await;
                Err(error)
            }
        }
    }
}

/// Connections that stay: a new one is a file opened and pragmas run, and one to a file does not go stale.
fn pool(connections: u32, wait: Duration) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(wait)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Waits where SQLite does not: whoever turns a new file into a WAL file needs it for itself, and of several that start on
/// one file all but one are told BUSY at once, whatever their busy timeout.
async fn connect(
    pool: &SqlitePoolOptions,
    options: &SqliteConnectOptions,
    wait: Duration,
) -> Result<SqlitePool, sqlx::Error> {
    const PAUSE: Duration = Duration::from_millis(10);
    let mut left = wait;
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(error) if primary_code(&error) == Some(SQLITE_BUSY) && !left.is_zero() => {
                tokio::time::sleep(PAUSE).await;
                left = left.saturating_sub(PAUSE);
            }
            other => return other,
        }
    }
}

/// SQLite would create the file readable by everybody. Its `-wal` and `-shm` get the mode of the file.
fn create_private(path: &Path) -> Result<(), OpenError> {
    let opened =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map(drop).map_err(|error: io::Error| OpenError::NotWritable {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Looks the file over and migrates it.
async fn prepare(path: &Path, writer: &SqlitePool, migrations: &Migrator) -> Result<(), OpenError> {
    let failed = |error| OpenError::of(path, error);
    // One transaction around everything: two processes that start on one file migrate it once, and a file that may not
    // be written is found here, also when there is nothing to migrate.
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let found: String =
        sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *transaction).await.map_err(failed)?;
    if found != "ok" {
        return Err(OpenError::Damaged { path: path.to_owned(), reason: found.replace('\n', " ") });
    }
    if !is_ours(&mut transaction).await.map_err(failed)? {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    migrations
        .run(&mut *transaction)
        .await
        .map_err(|error| OpenError::of_migration(path, error, migrations))?;
    transaction.commit().await.map_err(failed)
}

/// Empty, or migrated before. By whom is seen by its migrations.
async fn is_ours(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema) \
         OR EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations')",
    )
    .fetch_one(connection)
    .await
}

impl OpenError {
    /// Names what an error of SQLite's means for whoever starts the service.
    fn of(path: &Path, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        if is_corruption(&source) {
            return Self::Damaged { path, reason: text(&source) };
        }
        match primary_code(&source) {
            Some(SQLITE_PERM | SQLITE_READONLY | SQLITE_CANTOPEN | SQLITE_AUTH) => {
                Self::NotWritable { path, reason: text(&source) }
            }
            Some(SQLITE_BUSY) => Self::Locked { path },
            _ => Self::Other { path, source },
        }
    }

    fn of_migration(path: &Path, error: MigrateError, migrations: &Migrator) -> Self {
        let known = migrations.iter().map(|migration| migration.version).max().unwrap_or_default();
        let path = path.to_owned();
        match error {
            MigrateError::VersionMissing(found) | MigrateError::VersionTooNew(found, _) if found > known => {
                Self::FromTheFuture { path, found, known }
            }
            MigrateError::VersionMissing(_) => Self::Foreign { path },
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
                Self::of(&path, source)
            }
            other => Self::Altered { path, reason: other.to_string() },
        }
    }
}

/// SQLite's own words, without sqlx's.
fn text(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}
