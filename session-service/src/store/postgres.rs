//! Sessions in one PostgreSQL schema, for any number of replicas; how it is reached is [`chassis::postgres`]'s.

mod create;
mod end;
mod read;
mod sweep;

use async_trait::async_trait;
use chassis::lifecycle::Readiness;
use chassis::postgres::{Attempt, Database};
use sqlx::PgConnection;
use sqlx::migrate::Migrator;
use time::OffsetDateTime;

use super::row::{self, attributes_text, milliseconds};
use super::{
    Activity, AttributesSet, Created, Ended, Ending, Found, Listing, MOST_SUCCESSORS, NewSession, Rotated,
    Rotation, SessionStore, StoreError, Sweep, Swept,
};
use crate::domain::{Attributes, EndReason, SecretDigest, Session, SessionId};

pub use chassis::postgres::{Applied, OpenError, Settings as PostgresSettings};

/// Forward only: a migration that was published is never changed.
static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Activity written in one statement, so that it stays well within the deadline of an operation.
const ACTIVITY_BATCH: usize = 500;

/// Cloned freely.
#[derive(Debug, Clone)]
pub struct PostgresStore(Database);

impl PostgresStore {
    /// Waits for the database and its schema, and says on `readiness` what for.
    pub async fn open(settings: &PostgresSettings, readiness: &Readiness) -> Result<Self, OpenError> {
        Database::open(settings, &MIGRATIONS, readiness).await.map(Self)
    }

    /// Brings the schema up to this version.
    pub async fn migrate(settings: &PostgresSettings) -> Result<Applied, OpenError> {
        Database::migrate(settings, &MIGRATIONS).await
    }

    /// Waits for what is under way.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

#[async_trait]
impl SessionStore for PostgresStore {
    async fn create(&self, new: NewSession) -> Result<Created, StoreError> {
        let new = &new;
        self.0
            .run("create", |attempt| async move {
                let mut transaction = attempt.begin().await?;
                let created = create::create(&mut transaction, new).await?;
                if matches!(created, Created::Stored { .. }) {
                    transaction.commit().await?;
                }
                Ok(created)
            })
            .await
    }

    async fn find(&self, secret: SecretDigest, now: OffsetDateTime) -> Result<Option<Found>, StoreError> {
        self.0
            .run(
                "find",
                |attempt| async move { read::find(&mut *attempt.connection().await?, secret, now).await },
            )
            .await
    }

    async fn get(&self, id: &SessionId, now: OffsetDateTime) -> Result<Option<Session>, StoreError> {
        self.0
            .run("get", |attempt| async move { read::get(&mut *attempt.connection().await?, id, now).await })
            .await
    }

    async fn list(&self, listing: Listing) -> Result<Vec<Session>, StoreError> {
        let listing = &listing;
        self.0
            .run(
                "list",
                |attempt| async move { read::list(&mut *attempt.connection().await?, listing).await },
            )
            .await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let rotation = &rotation;
        self.0.run("rotate", |attempt| rotate(attempt, rotation)).await
    }

    async fn end(
        &self,
        ending: Ending,
        reason: EndReason,
        now: OffsetDateTime,
    ) -> Result<Vec<Ended>, StoreError> {
        let ending = &ending;
        self.0
            .run("end", |attempt| async move {
                let mut transaction = attempt.begin().await?;
                let ended = end::end(&mut transaction, ending, reason, now).await?;
                transaction.commit().await?;
                Ok(ended)
            })
            .await
    }

    async fn record_activity(&self, activity: &[Activity]) -> Result<(), StoreError> {
        for batch in activity.chunks(ACTIVITY_BATCH) {
            self.0
                .run("record_activity", |attempt| async move {
                    record(&mut *attempt.connection().await?, batch).await
                })
                .await?;
        }
        Ok(())
    }

    async fn set_attributes(
        &self,
        id: &SessionId,
        expected_version: u64,
        attributes: &Attributes,
        now: OffsetDateTime,
    ) -> Result<AttributesSet, StoreError> {
        self.0
            .run("set_attributes", |attempt| set_attributes(attempt, id, expected_version, attributes, now))
            .await
    }

    async fn sweep(&self, sweep: Sweep) -> Result<Swept, StoreError> {
        self.0
            .run("sweep", |attempt| async move {
                let mut transaction = attempt.begin().await?;
                let swept = sweep::sweep(&mut transaction, sweep).await?;
                transaction.commit().await?;
                Ok(swept)
            })
            .await
    }
}

async fn rotate(attempt: Attempt, rotation: &Rotation) -> Result<Rotated, StoreError> {
    let mut transaction = attempt.begin().await?;
    let number: Option<i64> = sqlx::query_scalar(
        "UPDATE sessions SET secret_digest = $1, rotation = rotation + 1, last_active_at = greatest(last_active_at, $2) \
         WHERE id = $3 AND secret_digest = $4 AND ended_at IS NULL AND absolute_expires_at > $2 RETURNING rotation",
    )
    .bind(rotation.to.as_bytes())
    .bind(milliseconds(rotation.now))
    .bind(rotation.id.as_str())
    .bind(rotation.from.as_bytes())
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(number) = number else { return Ok(Rotated::NotCurrent) };
    sqlx::query(
        "INSERT INTO former_secrets (digest, session_id, rotation, sealed, accepted_until) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(rotation.from.as_bytes())
    .bind(rotation.id.as_str())
    .bind(number)
    .bind(rotation.sealed.as_bytes())
    .bind(milliseconds(rotation.accepted_until))
    .execute(&mut *transaction)
    .await?;
    sqlx::query("DELETE FROM former_secrets WHERE session_id = $1 AND rotation <= $2")
        .bind(rotation.id.as_str())
        .bind(number - MOST_SUCCESSORS)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Rotated::Done)
}

async fn set_attributes(
    attempt: Attempt,
    id: &SessionId,
    expected_version: u64,
    attributes: &Attributes,
    now: OffsetDateTime,
) -> Result<AttributesSet, StoreError> {
    let mut connection = attempt.connection().await?;
    let set: Option<i64> = sqlx::query_scalar(
        "UPDATE sessions SET attributes = $1, attributes_version = attributes_version + 1 \
         WHERE id = $2 AND attributes_version = $3 AND ended_at IS NULL AND absolute_expires_at > $4 \
         RETURNING attributes_version",
    )
    .bind(attributes_text(attributes)?)
    .bind(id.as_str())
    // A version that the column cannot hold is none that it has.
    .bind(i64::try_from(expected_version).unwrap_or(-1))
    .bind(milliseconds(now))
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(version) = set {
        return Ok(AttributesSet::Done { version: row::unsigned(version)? });
    }
    let current: Option<i64> = sqlx::query_scalar(
        "SELECT attributes_version FROM sessions WHERE id = $1 AND ended_at IS NULL AND absolute_expires_at > $2",
    )
    .bind(id.as_str())
    .bind(milliseconds(now))
    .fetch_optional(&mut *connection)
    .await?;
    match current {
        Some(current) => Ok(AttributesSet::VersionMismatch { current: row::unsigned(current)? }),
        None => Ok(AttributesSet::NotFound),
    }
}

async fn record(connection: &mut PgConnection, activity: &[Activity]) -> Result<(), StoreError> {
    let ids: Vec<&str> = activity.iter().map(|one| one.id.as_str()).collect();
    let moments: Vec<i64> = activity.iter().map(|one| milliseconds(one.at)).collect();
    // Locked in one order, so that two replicas that write of the same sessions wait and do not meet head-on.
    sqlx::query(
        "WITH told AS (SELECT id, max(at) AS at FROM unnest($1::text[], $2::bigint[]) AS told (id, at) GROUP BY id), \
         later AS (SELECT s.id, told.at FROM sessions s JOIN told ON told.id = s.id \
             WHERE s.last_active_at < told.at AND s.ended_at IS NULL ORDER BY s.id FOR UPDATE OF s) \
         UPDATE sessions s SET last_active_at = later.at FROM later WHERE s.id = later.id",
    )
    .bind(ids)
    .bind(moments)
    .execute(connection)
    .await?;
    Ok(())
}
