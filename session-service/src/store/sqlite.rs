//! Sessions in one SQLite file, opened by [`chassis::sqlite`]: what was answered survives `kill -9` and a power cut.

mod create;
mod read;
mod sweep;

use async_trait::async_trait;
use chassis::sqlite::Database;
use sqlx::migrate::Migrator;
use sqlx::{Sqlite, SqliteConnection, Transaction};
use time::OffsetDateTime;

use super::error::failed;
use super::row::{self, EndedRow, attributes_text, milliseconds};
use super::{
    Activity, AttributesSet, Created, Ended, Ending, Found, Listing, MOST_SUCCESSORS, NewSession, Rotated,
    Rotation, SessionStore, StoreError, Sweep, Swept,
};
use crate::domain::{Attributes, EndReason, SecretDigest, Session, SessionId};

pub use chassis::sqlite::{OpenError, Settings as SqliteSettings};

/// Forward only: a migration that was published is never changed.
static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Activity written in one transaction, so that nobody waits long for the write lock.
const ACTIVITY_BATCH: usize = 500;

/// Sets the tombstone and wipes what only a session needs. `?1` is the moment, `?2` the reason.
macro_rules! end_where {
    ($condition:literal) => {
        concat!(
            "UPDATE sessions SET ended_at = ?1, end_reason = ?2, attributes = '{}' \
             WHERE ended_at IS NULL AND ",
            $condition,
            " RETURNING id, subject, last_active_at"
        )
    };
}
use end_where;

/// Cloned freely.
#[derive(Clone)]
pub struct SqliteStore(Database);

impl SqliteStore {
    /// Creates the file if there is none, in a folder that exists, and brings its schema up to date.
    pub async fn open(settings: &SqliteSettings) -> Result<SqliteStore, OpenError> {
        Database::open(settings, &MIGRATIONS).await.map(SqliteStore)
    }

    /// Waits for what is under way, and folds the log back into the file.
    pub async fn close(&self) {
        self.0.close().await;
    }

    async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.0.write().await.map_err(failed)
    }
}

#[async_trait]
impl SessionStore for SqliteStore {
    async fn create(&self, new: NewSession) -> Result<Created, StoreError> {
        self.0
            .run("create", async move {
                let mut transaction = self.write().await?;
                let created = create::create(&mut transaction, &new).await?;
                match created {
                    Created::Stored { .. } => transaction.commit().await.map_err(failed)?,
                    Created::ProofSpent | Created::LimitReached => {
                        transaction.rollback().await.map_err(failed)?
                    }
                }
                Ok(created)
            })
            .await
    }

    async fn find(&self, secret: SecretDigest, now: OffsetDateTime) -> Result<Option<Found>, StoreError> {
        self.0.run("find", async move { read::find(self.0.readers(), secret, now).await }).await
    }

    async fn get(&self, id: &SessionId, now: OffsetDateTime) -> Result<Option<Session>, StoreError> {
        self.0.run("get", async move { read::get(self.0.readers(), id, now).await }).await
    }

    async fn list(&self, listing: Listing) -> Result<Vec<Session>, StoreError> {
        self.0.run("list", async move { read::list(self.0.readers(), listing).await }).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        self.0.run("rotate", async move {
        let mut transaction = self.write().await?;
        let number: Option<i64> = sqlx::query_scalar(
            "UPDATE sessions SET secret_digest = ?1, rotation = rotation + 1, last_active_at = max(last_active_at, ?2) \
             WHERE id = ?3 AND secret_digest = ?4 AND ended_at IS NULL AND absolute_expires_at > ?2 RETURNING rotation",
        )
        .bind(rotation.to.as_bytes())
        .bind(milliseconds(rotation.now))
        .bind(rotation.id.as_str())
        .bind(rotation.from.as_bytes())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
        let Some(number) = number else { return Ok(Rotated::NotCurrent) };
        sqlx::query(
            "INSERT INTO former_secrets (digest, session_id, rotation, sealed, accepted_until) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(rotation.from.as_bytes())
        .bind(rotation.id.as_str())
        .bind(number)
        .bind(rotation.sealed.as_bytes())
        .bind(milliseconds(rotation.accepted_until))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        sqlx::query("DELETE FROM former_secrets WHERE session_id = ?1 AND rotation <= ?2")
            .bind(rotation.id.as_str())
            .bind(number - MOST_SUCCESSORS)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(Rotated::Done)
        }).await
    }

    async fn end(
        &self,
        ending: Ending,
        reason: EndReason,
        now: OffsetDateTime,
    ) -> Result<Vec<Ended>, StoreError> {
        self.0
            .run("end", async move {
                let mut transaction = self.write().await?;
                let query = match &ending {
                    Ending::One(id) => sqlx::query_as(end_where!("absolute_expires_at > ?1 AND id = ?3"))
                        .bind_moment(now, reason)
                        .bind(id.as_str()),
                    Ending::OneOf(id, subject) => {
                        sqlx::query_as(end_where!("absolute_expires_at > ?1 AND id = ?3 AND subject = ?4"))
                            .bind_moment(now, reason)
                            .bind(id.as_str())
                            .bind(subject.as_str())
                    }
                    Ending::AllOf(subject) => {
                        sqlx::query_as(end_where!("absolute_expires_at > ?1 AND subject = ?3"))
                            .bind_moment(now, reason)
                            .bind(subject.as_str())
                    }
                    Ending::OthersOf(subject, id) => {
                        sqlx::query_as(end_where!("absolute_expires_at > ?1 AND subject = ?3 AND id <> ?4"))
                            .bind_moment(now, reason)
                            .bind(subject.as_str())
                            .bind(id.as_str())
                    }
                };
                let ended =
                    finish_ending(query.fetch_all(&mut *transaction).await, &mut transaction, reason).await?;
                transaction.commit().await.map_err(failed)?;
                Ok(ended)
            })
            .await
    }

    async fn record_activity(&self, activity: &[Activity]) -> Result<(), StoreError> {
        self.0
            .run("record_activity", async move {
                for batch in activity.chunks(ACTIVITY_BATCH) {
                    let mut transaction = self.write().await?;
                    record(&mut transaction, batch).await?;
                    transaction.commit().await.map_err(failed)?;
                }
                Ok(())
            })
            .await
    }

    async fn set_attributes(
        &self,
        id: &SessionId,
        expected_version: u64,
        attributes: &Attributes,
        now: OffsetDateTime,
    ) -> Result<AttributesSet, StoreError> {
        self.0.run("set_attributes", async move {
        let mut transaction = self.write().await?;
        let set: Option<i64> = sqlx::query_scalar(
            "UPDATE sessions SET attributes = ?1, attributes_version = attributes_version + 1 \
             WHERE id = ?2 AND attributes_version = ?3 AND ended_at IS NULL AND absolute_expires_at > ?4 \
             RETURNING attributes_version",
        )
        .bind(attributes_text(attributes)?)
        .bind(id.as_str())
        // A version that SQLite cannot hold is none that it has.
        .bind(i64::try_from(expected_version).unwrap_or(-1))
        .bind(milliseconds(now))
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
        if let Some(version) = set {
            transaction.commit().await.map_err(failed)?;
            return Ok(AttributesSet::Done { version: row::unsigned(version)? });
        }
        let current: Option<i64> = sqlx::query_scalar(
            "SELECT attributes_version FROM sessions WHERE id = ?1 AND ended_at IS NULL AND absolute_expires_at > ?2",
        )
        .bind(id.as_str())
        .bind(milliseconds(now))
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
        match current {
            Some(current) => Ok(AttributesSet::VersionMismatch { current: row::unsigned(current)? }),
            None => Ok(AttributesSet::NotFound),
        }
        }).await
    }

    async fn sweep(&self, sweep: Sweep) -> Result<Swept, StoreError> {
        self.0
            .run("sweep", async move {
                let mut transaction = self.write().await?;
                let swept = sweep::sweep(&mut transaction, sweep).await?;
                transaction.commit().await.map_err(failed)?;
                Ok(swept)
            })
            .await
    }
}

type EndQuery<'q> = sqlx::query::QueryAs<'q, Sqlite, EndedRow, sqlx::sqlite::SqliteArguments>;

trait BindMoment {
    /// `?1` and `?2` of [`end_where`].
    fn bind_moment(self, now: OffsetDateTime, reason: EndReason) -> Self;
}

impl BindMoment for EndQuery<'_> {
    fn bind_moment(self, now: OffsetDateTime, reason: EndReason) -> Self {
        self.bind(milliseconds(now)).bind(reason.as_str())
    }
}

async fn record(connection: &mut SqliteConnection, activity: &[Activity]) -> Result<(), StoreError> {
    for Activity { id, at } in activity {
        sqlx::query("UPDATE sessions SET last_active_at = ?1 WHERE id = ?2 AND last_active_at < ?1 AND ended_at IS NULL")
            .bind(milliseconds(*at))
            .bind(id.as_str())
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// Wipes what was sealed for the sessions just ended.
async fn finish_ending(
    rows: Result<Vec<EndedRow>, sqlx::Error>,
    connection: &mut SqliteConnection,
    reason: EndReason,
) -> Result<Vec<Ended>, StoreError> {
    let mut ended = Vec::new();
    for row in rows.map_err(failed)? {
        let row = row.ended(reason)?;
        sqlx::query("DELETE FROM former_secrets WHERE session_id = ?1")
            .bind(row.id.as_str())
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        ended.push(row);
    }
    Ok(ended)
}
