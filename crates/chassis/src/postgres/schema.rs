//! Where a schema stands, and how it is brought forward: by `latchkey migrate` alone, so that of many replicas that start
//! at once none changes a table under the others.

use std::collections::BTreeMap;

use sqlx::migrate::{Migrate as _, MigrateError, Migration, Migrator};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::connection::quiet;
use super::open::server;
use super::{Database, OpenError, Settings};

/// What [`Database::migrate`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Their descriptions, in order; empty where nothing was left to do.
    pub migrations: Vec<String>,
}

/// A schema, seen by a version that knows `migrations`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Current,
    /// Migrations that this version needs are not applied.
    Behind,
    /// A later version has migrated it, in ways that this one can live with.
    Ahead,
}

/// Migrations that an older version can live with are called `<timestamp>_expand_…`. Those that it cannot (a column that it
/// reads is gone) have other names, and come a release later than what they are for.
const EXPANDS: &str = "expand";

impl Database {
    /// Makes the schema where there is none, and applies what it lacks. Forward only; what others may do meanwhile waits.
    pub async fn migrate(settings: &Settings, migrations: &Migrator) -> Result<Applied, OpenError> {
        let failed = |source| OpenError::of(settings, source);
        let mut connection = quiet(server(settings)?).connect().await.map_err(failed)?;
        make(&mut connection, &settings.schema).await.map_err(failed)?;
        let before = applied(&mut connection).await.map_err(failed)?;
        let altered = |error: MigrateError| match error {
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => failed(source),
            other => OpenError::Altered { schema: settings.schema.clone(), reason: other.to_string() },
        };
        if !before.is_empty() {
            standing(settings, migrations, &before)?;
        }
        let forward = Migrator {
            // What a newer version applied was looked at above.
            ignore_missing: true,
            migrations: migrations.iter().cloned().collect(),
            ..Migrator::DEFAULT
        };
        forward.run(&mut connection).await.map_err(altered)?;
        let _ = connection.close().await;
        let new = migrations.iter().filter(|migration| !before.contains_key(&migration.version));
        Ok(Applied { migrations: new.map(|migration| migration.description.to_string()).collect() })
    }

    pub(super) async fn standing(
        &self,
        settings: &Settings,
        migrations: &Migrator,
    ) -> Result<Standing, OpenError> {
        let found =
            self.run("schema", |attempt| async move { applied(&mut *attempt.snapshot().await?).await }).await;
        standing(settings, migrations, &found.map_err(|source| OpenError::of(settings, source))?)
    }
}

/// A row of the table that sqlx keeps.
struct Row {
    description: String,
    success: bool,
    checksum: Vec<u8>,
}

async fn make(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    // Asked first: a role that may not create schemas may well own the one that an administrator made for it.
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)")
            .bind(schema)
            .fetch_one(&mut *connection)
            .await?;
    if !exists {
        match connection.create_schema_if_not_exists(schema).await.map_err(driver) {
            // `IF NOT EXISTS` does not wait for another transaction that makes the same one: it fails once that commits.
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
            made => made?,
        }
    }
    sqlx::query("SELECT set_config('search_path', $1, false)").bind(schema).execute(connection).await?;
    Ok(())
}

fn driver(error: MigrateError) -> sqlx::Error {
    match error {
        MigrateError::Execute(source) => source,
        other => sqlx::Error::Migrate(Box::new(other)),
    }
}

/// By version. Empty where nothing was ever migrated.
async fn applied(connection: &mut PgConnection) -> Result<BTreeMap<i64, Row>, sqlx::Error> {
    let migrated: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !migrated {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<(i64, String, bool, Vec<u8>)> =
        sqlx::query_as("SELECT version, description, success, checksum FROM _sqlx_migrations")
            .fetch_all(connection)
            .await?;
    let rows = rows.into_iter();
    Ok(rows
        .map(|(version, description, success, checksum)| (version, Row { description, success, checksum }))
        .collect())
}

fn standing(
    settings: &Settings,
    migrations: &Migrator,
    found: &BTreeMap<i64, Row>,
) -> Result<Standing, OpenError> {
    let schema = settings.schema.clone();
    let altered = |reason: String| OpenError::Altered { schema: schema.clone(), reason };
    let known: BTreeMap<i64, &Migration> =
        migrations.iter().map(|migration| (migration.version, migration)).collect();
    let newest = known.keys().next_back().copied().unwrap_or_default();
    let mut ahead = false;
    for (&version, row) in found {
        match known.get(&version) {
            _ if !row.success => return Err(altered(format!("migration {version} broke off half-way"))),
            Some(migration) if migration.checksum[..] != row.checksum[..] => {
                return Err(altered(format!("migration {version} is not the one that this version knows")));
            }
            Some(_) => {}
            None if version < newest => return Err(OpenError::Foreign { schema }),
            None if row.description.starts_with(EXPANDS) => ahead = true,
            None => return Err(OpenError::FromTheFuture { schema, found: version, known: newest }),
        }
    }
    if known.keys().any(|version| !found.contains_key(version)) {
        return Ok(Standing::Behind);
    }
    Ok(if ahead { Standing::Ahead } else { Standing::Current })
}
