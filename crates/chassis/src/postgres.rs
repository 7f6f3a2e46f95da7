//! One PostgreSQL schema as a service's store, shared by all its replicas. Only with the feature `sql`.
//!
//! Whatever a service asks of it is work that it hands to [`Database::run`]: one deadline for all of it, the wait for a
//! connection included, and done again where the server asks for that. What was given up on leaves no connection behind
//! that somebody else would wait for. What the tables are is the service's own affair.

mod attempt;
mod connection;
mod open;
mod retry;
mod schema;
mod watch;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

pub use attempt::{Attempt, Connection, Transaction};
pub use open::{OpenError, Waiting, apart};
pub use schema::Applied;

use attempt::Lent;

use crate::telemetry::traces;

/// Which schema of which database, and how long calls wait for it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host, port, database, role and TLS, as in a `postgres://` URL without a password.
    pub server: PgConnectOptions,
    /// Read anew at each start.
    pub password_file: Option<PathBuf>,
    /// What `server` names for TLS. The driver reads it with each connection, and would wait for a file that is not there as
    /// for a server that is away: so each start looks first.
    pub tls_files: Vec<PathBuf>,
    /// All tables are in it. [`Database::migrate`] makes it.
    pub schema: String,
    pub connections: u32,
    /// For one operation: waiting for a connection takes at most half of it.
    pub timeout: Duration,
}

impl Settings {
    /// Reads every file that they name, as a start does, and asks nobody.
    pub fn read_files(&self) -> Result<(), OpenError> {
        open::server(self).map(drop)
    }
}

/// A pool of connections. Cloned freely.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
    timeout: Duration,
}

impl Database {
    /// Does `work` until the deadline, and again where the server broke it off for another's sake: its transactions are one
    /// try, and nothing of a try that failed stays. `operation` is what traces call it.
    pub async fn run<T, E, F>(&self, operation: &'static str, work: impl Fn(Attempt) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: std::error::Error + From<sqlx::Error> + 'static,
    {
        traces::storing("postgresql", operation, self.in_time(work)).await
    }

    async fn in_time<T, E, F>(&self, work: impl Fn(Attempt) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: std::error::Error + From<sqlx::Error> + 'static,
    {
        let all = async {
            let mut pauses = retry::pauses();
            loop {
                let lent = Lent::default();
                let done = work(lent.attempt(&self.pool)).await;
                lent.give_back().await;
                match done {
                    Err(error) if retry::is_asked_for(&error) => match pauses.next() {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => return Err(error),
                    },
                    done => return done,
                }
            }
        };
        tokio::time::timeout(self.timeout, all).await.unwrap_or_else(|_| {
            let late = format!("no answer within {}", humantime(self.timeout));
            Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, late)).into())
        })
    }

    /// Finishes what is under way and lets the connections go.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Whether a row is not what its table promises, or the server says that it found its files damaged.
pub fn is_corruption(error: &sqlx::Error) -> bool {
    let row = matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_));
    row || code(error).is_some_and(|code| DAMAGED.contains(&code.as_ref()))
}

/// `data_corrupted`, `index_corrupted`; <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const DAMAGED: [&str; 2] = ["XX001", "XX002"];

/// SQLSTATE, where the server answered.
fn code(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error()?.code()
}

fn humantime(duration: Duration) -> impl std::fmt::Display {
    humantime_serde::re::humantime::format_duration(duration)
}
