//! A start: what heals by waiting is waited for, and said; what does not heal stops the process with one clear line.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;

use super::connection::pool;
use super::schema::Standing;
use super::{Database, Settings, code};
use crate::lifecycle::Readiness;
use crate::secret::{self, SecretError};

/// How often a database that is not there yet is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Why a schema cannot be the store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("store.password_file: {0}")]
    Password(#[source] SecretError),
    #[error("store.url: {} cannot be read: {source}", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Who waits may find it answering; see [`Database::open`].
    #[error("the database {place} cannot be asked: {source}")]
    Unavailable {
        place: String,
        #[source]
        source: sqlx::Error,
    },
    #[error(
        "the database {place} lets this service not in ({source}): check the role in store.url, store.password_file, and that the database exists"
    )]
    Refused {
        place: String,
        #[source]
        source: sqlx::Error,
    },
    #[error(
        "the schema {schema} was migrated by a newer version ({found}, this version knows up to {known}) in a way that this version cannot live with: start that version"
    )]
    FromTheFuture { schema: String, found: i64, known: i64 },
    #[error("the schema {schema} is another service's: store.schema must name one of its own")]
    Foreign { schema: String },
    #[error("the schema {schema} was changed by hand ({reason}): restore it from a backup")]
    Altered { schema: String, reason: String },
}

/// Why nothing is served yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// The database does not answer.
    Unreachable { place: String, reason: String },
    /// It does, and its schema lacks what this version needs.
    Behind { schema: String },
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable { place, reason } => write!(f, "waiting for the database {place}: {reason}"),
            Self::Behind { schema } => {
                write!(f, "the schema {schema} is behind this version: run `latchkey migrate`")
            }
        }
    }
}

impl Database {
    /// Waits until the database answers and its schema is what this version needs, and says on `readiness` what it waits
    /// for, and later whether the database still answers. Dropped when the process is told to stop.
    pub async fn open(
        settings: &Settings,
        migrations: &Migrator,
        readiness: &Readiness,
    ) -> Result<Database, OpenError> {
        let database = Database { pool: pool(settings, server(settings)?), timeout: settings.timeout };
        readiness.lifecycle().spawn_support("database", database.clone().watch(readiness.clone()));
        loop {
            let waiting = match database.standing(settings, migrations).await {
                Ok(Standing::Current) => return Ok(database),
                Ok(Standing::Ahead) => {
                    tracing::warn!(
                        schema = settings.schema,
                        "the schema is a newer version's: going on with it"
                    );
                    return Ok(database);
                }
                Ok(Standing::Behind) => Waiting::Behind { schema: settings.schema.clone() },
                Err(OpenError::Unavailable { place, source }) => {
                    Waiting::Unreachable { place, reason: reason(&source) }
                }
                Err(error) => return Err(error),
            };
            readiness.not_ready(waiting.to_string());
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Connections besides the service's own, for what must not wait for those: call what is returned in the runtime that will
/// use them. The password is read now, the server is asked later.
pub fn apart(settings: &Settings) -> Result<impl FnOnce() -> PgPool + Send + use<>, OpenError> {
    let (settings, server) = (settings.clone(), server(settings)?);
    Ok(move || pool(&settings, server))
}

/// With the password, read now, and not without the files that the driver will want.
pub(super) fn server(settings: &Settings) -> Result<PgConnectOptions, OpenError> {
    for path in &settings.tls_files {
        std::fs::read(path).map_err(|source| OpenError::File { path: path.clone(), source })?;
    }
    let server = settings.server.clone();
    match &settings.password_file {
        None => Ok(server),
        Some(path) => {
            let secret = secret::read(path).map_err(OpenError::Password)?;
            Ok(server.password(secret.text().map_err(OpenError::Password)?))
        }
    }
}

impl OpenError {
    pub(super) fn of(settings: &Settings, source: sqlx::Error) -> Self {
        let server = &settings.server;
        let database = server.get_database().unwrap_or_else(|| server.get_username());
        let place = format!("{database} at {}:{}", server.get_host(), server.get_port());
        if code(&source).is_some_and(|code| is_refusal(&code)) {
            Self::Refused { place, source }
        } else {
            Self::Unavailable { place, source }
        }
    }
}

/// Class 28 is about who asks; `invalid_catalog_name`; `insufficient_privilege`.
fn is_refusal(code: &str) -> bool {
    code.starts_with("28") || matches!(code, "3D000" | "42501")
}

/// The server's own words where it said something.
pub(super) fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::PoolTimedOut => "no connection in time".to_owned(),
        other => other.to_string(),
    }
}
