//! The store that the configuration asks for, opened: beside [`super`], the only file that names adapters.

use std::{sync::Arc, time::Duration};

use chassis::{clock::SharedClock, lifecycle::Readiness, status::chain};

use feed::{
    grpc::OpenLog,
    log::{Log, postgres::PostgresLog},
};

use super::StartError;
use crate::{
    config::Config,
    flows::keys::{Keys, KeysError},
    store::{Store, StoreError, postgres::PostgresStore, sqlite::SqliteStore},
};

/// How often a store that is away at the start is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Brings the schema up to this version and names the migrations that were missing. `None`: a SQLite file is brought there
/// by every start.
pub async fn migrate(config: &Config) -> Result<Option<Vec<String>>, StartError> {
    match config.store.postgres() {
        Some(settings) => Ok(Some(PostgresStore::migrate(&settings).await?.migrations)),
        None => Ok(None),
    }
}

/// The store that was asked for.
pub(super) enum Opened {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

impl Opened {
    pub(super) async fn open(config: &Config, readiness: &Readiness) -> Result<Opened, StartError> {
        if let Some(settings) = config.store.postgres() {
            return Ok(Opened::Postgres(PostgresStore::open(&settings, readiness).await?));
        }
        let file = config.store.sqlite().ok_or(StartError::StoreUrl)?;
        Ok(Opened::Sqlite(SqliteStore::open(&file).await?))
    }

    /// The feed's way to its log, which is in the same database. It has connections of its own where that can be, so that
    /// the feed does not wait for logins.
    pub(super) fn log(&self, config: &Config, clock: &SharedClock) -> Result<OpenLog, StartError> {
        match self {
            Opened::Sqlite(store) => {
                let log: Arc<dyn Log> = Arc::new(store.log(feed::grpc::clock(Arc::clone(clock))));
                Ok(Box::new(move || Box::pin(async move { log })))
            }
            Opened::Postgres(_) => {
                let settings = config.store.postgres().ok_or(StartError::StoreUrl)?;
                let connections = chassis::postgres::apart(&settings)?;
                Ok(Box::new(move || {
                    Box::pin(async move { Arc::new(PostgresLog::new(connections())) as Arc<dyn Log> })
                }))
            }
        }
    }

    pub(super) fn shared(&self) -> Arc<dyn Store> {
        match self {
            Opened::Sqlite(store) => Arc::new(store.clone()),
            Opened::Postgres(store) => Arc::new(store.clone()),
        }
    }

    /// A database that other machines share may be away again by now: as in opening it, that is waited for.
    pub(super) async fn first_look(
        &self,
        keys: &Keys,
        clock: &SharedClock,
        readiness: &Readiness,
    ) -> Result<(), KeysError> {
        loop {
            match (keys.catch_up(clock.now()).await, self) {
                (Err(KeysError::Store(error @ StoreError::Unavailable(_))), Opened::Postgres(_)) => {
                    readiness.not_ready(format!("waiting for the signing keys: {}", chain(&error)));
                    tokio::time::sleep(AGAIN).await;
                }
                (looked, _) => return looked,
            }
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Opened::Sqlite(store) => store.close().await,
            Opened::Postgres(store) => store.close().await,
        }
    }
}
