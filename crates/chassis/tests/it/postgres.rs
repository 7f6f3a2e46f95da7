//! A real server behind the store: what a start waits for and what it refuses, and that nobody waits for ever.

mod opening;
mod outages;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use latchkey_chassis::config::Shutdown;
use latchkey_chassis::lifecycle::Lifecycle;
use latchkey_chassis::postgres::{Applied, Database, OpenError, Settings};
use servers::{Postgres, Sync};
use sqlx::PgConnection;
use sqlx::migrate::Migrator;

const VERSION: i64 = 20_261_125_000_000;

struct Place {
    server: Postgres,
    settings: Settings,
    migrations: Arc<Migrator>,
    lifecycle: Lifecycle,
}

impl Place {
    /// A server on which nothing was migrated yet.
    async fn new() -> Place {
        let server = Postgres::start(Sync::Off);
        let settings = Settings {
            server: server.url().parse().unwrap(),
            password_file: None,
            tls_files: Vec::new(),
            schema: "things".to_owned(),
            connections: 4,
            // Patient: a loaded test machine is not what is tested.
            timeout: Duration::from_secs(30),
        };
        let migrations = migrations(&[(VERSION, "things", TABLE)]).await;
        Place { server, settings, migrations, lifecycle: Lifecycle::new(Shutdown::default()) }
    }

    async fn migrate(&self) -> Result<Applied, OpenError> {
        Database::migrate(&self.settings, &self.migrations).await
    }

    async fn open(&self) -> Result<Database, OpenError> {
        Database::open(&self.settings, &self.migrations, &self.lifecycle.readiness("store")).await
    }

    /// Of the store, as operators are told.
    fn state(&self) -> Result<(), String> {
        self.lifecycle.conditions().into_iter().find(|one| *one.name == *"store").unwrap().state
    }

    /// With a table of things, one of them there.
    async fn opened() -> (Place, Database) {
        let place = Place::new().await;
        place.migrate().await.unwrap();
        let database = place.open().await.unwrap();
        (place, database)
    }

    /// The one line that an operator sees.
    async fn refused(&self) -> OpenError {
        let error = self.open().await.unwrap_err();
        let line = error.to_string();
        assert!(!line.contains('\n'), "{line}");
        error
    }
}

const TABLE: &str = "CREATE TABLE things (id BIGINT PRIMARY KEY, number BIGINT NOT NULL); \
                     INSERT INTO things VALUES (1, 0), (2, 0)";

async fn migrations(all: &[(i64, &str, &str)]) -> Arc<Migrator> {
    let folder = tempfile::tempdir().unwrap();
    for (version, name, sql) in all {
        std::fs::write(folder.path().join(format!("{version}_{name}.sql")), sql).unwrap();
    }
    Arc::new(Migrator::new(PathBuf::from(folder.path())).await.unwrap())
}

async fn number(connection: &mut PgConnection, id: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT number FROM things WHERE id = $1").bind(id).fetch_one(connection).await
}

async fn raise(connection: &mut PgConnection, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE things SET number = number + 1 WHERE id = $1").bind(id).execute(connection).await?;
    Ok(())
}

async fn read(database: &Database, id: i64) -> Result<i64, sqlx::Error> {
    database.run("test", |attempt| async move { number(&mut *attempt.connection().await?, id).await }).await
}

async fn write(database: &Database, id: i64) -> Result<(), sqlx::Error> {
    database.run("test", |attempt| async move { raise(&mut *attempt.connection().await?, id).await }).await
}
