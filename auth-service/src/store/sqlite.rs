//! The store on one SQLite file: for one machine, and for a first look. How it is opened, and what a crash leaves of it, is
//! [`chassis::sqlite`]'s.

use chassis::sqlite::Database;
use feed::{driver::Clock, log::sqlite::SqliteLog};
use sqlx::migrate::Migrator;

mod adapter;
mod clients;
mod families;
mod signing_keys;
mod sweep;
mod throttle;
mod users;

pub use chassis::sqlite::{OpenError, Settings as SqliteSettings};

/// Forward only: a migration that was published is never changed.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// An open SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteStore(Database);

impl SqliteStore {
    /// Opens the file, creating it where there is none, checks it and brings its schema up to date.
    pub async fn open(settings: &SqliteSettings) -> Result<Self, OpenError> {
        Database::open(settings, &MIGRATIONS).await.map(Self)
    }

    /// The feed's log, which is in the same file.
    pub fn log(&self, clock: Clock) -> SqliteLog {
        SqliteLog::new(self.0.writer().clone(), self.0.readers().clone(), move || clock.now().wall)
    }

    /// Finishes what is under way and closes the file.
    pub async fn close(&self) {
        self.0.close().await;
    }
}
