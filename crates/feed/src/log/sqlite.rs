//! The log in a service's own SQLite file, so that an ending and the row that it changes are one transaction.
//!
//! SQLite has one writer at a time, so numbers are in commit order; a reader's snapshot begins after every commit that was
//! answered before, so a read is linearizable. Both hold on one machine only: never on a network file system.

use async_trait::async_trait;
use sqlx::{SqliteConnection, SqlitePool};

use super::{
    AT_ONCE, Appended, Beat, Log, LogUnavailable, MAX_APPEND, Placed, Read, Snapshot,
    row::{EntryRow, MemberRow, position, signed},
};
use crate::{
    change::{Entry, Position},
    member::{Member, MemberId},
    time::Wall,
};

/// The tables, for a migration of the service that owns the file.
pub const SCHEMA: &str = include_str!("sqlite/schema.sql");

/// Appends within the caller's transaction, which must have been begun with `BEGIN IMMEDIATE`: what the entries end and
/// the entries are committed together, or not at all. The position holds once the transaction is committed.
pub async fn append_within(
    connection: &mut SqliteConnection,
    changes: &[Appended],
) -> Result<Placed, LogUnavailable> {
    if changes.is_empty() || changes.len() > MAX_APPEND {
        return Err(LogUnavailable::new("an append carries between one and 256 changes"));
    }
    let before = sqlx::query_as("SELECT n, tag FROM feed_log ORDER BY n DESC LIMIT 1");
    let before: Option<(i64, i64)> =
        before.fetch_optional(&mut *connection).await.map_err(LogUnavailable::new)?;
    let after = before.map_or(Ok(Position::START), position)?;
    let mut last = after;
    for Appended { tag, change } in changes {
        let number: i64 = sqlx::query_scalar(
            "INSERT INTO feed_log (tag, what, key, min, spared, until) VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING n",
        )
        .bind(tag.0.cast_signed())
        .bind(change.target.what.name())
        .bind(&*change.target.key)
        .bind(change.min.map(signed).transpose()?)
        .bind(change.except.as_deref())
        .bind(signed(change.until.unix_millis())?)
        .fetch_one(&mut *connection)
        .await
        .map_err(LogUnavailable::new)?;
        last = Position { number: number.try_into().map_err(LogUnavailable::new)?, tag: *tag };
    }
    Ok(Placed { after: Some(after), last })
}

pub struct SqliteLog {
    writer: SqlitePool,
    readers: SqlitePool,
    /// The wall clock that a beat reports: the file's machine is ours.
    clock: Box<dyn Fn() -> Wall + Send + Sync>,
}

impl SqliteLog {
    /// Two pools on one file in WAL mode with `synchronous = FULL`; they may be the same.
    pub fn new(
        writer: SqlitePool,
        readers: SqlitePool,
        clock: impl Fn() -> Wall + Send + Sync + 'static,
    ) -> Self {
        Self { writer, readers, clock: Box::new(clock) }
    }
}

#[async_trait]
impl Log for SqliteLog {
    async fn append(&self, changes: &[Appended]) -> Result<Placed, LogUnavailable> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(LogUnavailable::new)?;
        let placed = append_within(&mut transaction, changes).await?;
        transaction.commit().await.map_err(LogUnavailable::new)?;
        Ok(placed)
    }

    async fn read(&self, after: Position) -> Result<Read, LogUnavailable> {
        let mut snapshot = self.readers.begin().await.map_err(LogUnavailable::new)?;
        read_after(&mut snapshot, after).await
    }

    async fn snapshot(&self) -> Result<Snapshot, LogUnavailable> {
        let mut snapshot = self.readers.begin().await.map_err(LogUnavailable::new)?;
        let entries = entries_after(&mut snapshot, Position::START).await?;
        let position = entries.last().map_or(Position::START, |entry| entry.position);
        Ok(Snapshot { position, entries })
    }

    async fn beat(&self, member: MemberId, after: Position) -> Result<Beat, LogUnavailable> {
        let time = (self.clock)();
        let mut snapshot = self.readers.begin().await.map_err(LogUnavailable::new)?;
        let fenced: Option<bool> = sqlx::query_scalar("SELECT fenced FROM feed_member WHERE id = ?1")
            .bind(member.to_string())
            .fetch_optional(&mut *snapshot)
            .await
            .map_err(LogUnavailable::new)?;
        if fenced.unwrap_or(true) {
            return Ok(Beat::Fenced);
        }
        Ok(match read_after(&mut snapshot, after).await? {
            Read::Diverged => Beat::Diverged,
            Read::Current { head, entries } => Beat::Current { head, entries, time },
        })
    }

    async fn register(&self, member: &Member) -> Result<(), LogUnavailable> {
        // A repeated registration must not lift a fence.
        sqlx::query(
            "INSERT INTO feed_member (id, address, lease_ms, fenced) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING",
        )
        .bind(member.id.to_string())
        .bind(&member.address)
        .bind(signed(member.lease.as_millis())?)
        .bind(member.fenced)
        .execute(&self.writer)
        .await
        .map_err(LogUnavailable::new)?;
        Ok(())
    }

    async fn fence(&self, member: MemberId) -> Result<(), LogUnavailable> {
        sqlx::query("UPDATE feed_member SET fenced = 1 WHERE id = ?1")
            .bind(member.to_string())
            .execute(&self.writer)
            .await
            .map_err(LogUnavailable::new)?;
        Ok(())
    }

    async fn remove(&self, member: MemberId) -> Result<(), LogUnavailable> {
        sqlx::query("DELETE FROM feed_member WHERE id = ?1")
            .bind(member.to_string())
            .execute(&self.writer)
            .await
            .map_err(LogUnavailable::new)?;
        Ok(())
    }

    async fn members(&self) -> Result<Vec<Member>, LogUnavailable> {
        let rows: Vec<MemberRow> =
            sqlx::query_as("SELECT id, address, lease_ms, fenced FROM feed_member ORDER BY id")
                .fetch_all(&self.readers)
                .await
                .map_err(LogUnavailable::new)?;
        rows.into_iter().map(|row| row.try_into().map_err(LogUnavailable::new)).collect()
    }

    async fn trim(&self, wall: Wall, before: u64) -> Result<bool, LogUnavailable> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(LogUnavailable::new)?;
        let gone: Vec<i64> = sqlx::query_scalar(
            "DELETE FROM feed_log WHERE n IN \
             (SELECT n FROM feed_log WHERE until <= ?1 AND n < min(?2, (SELECT max(n) FROM feed_log)) \
              ORDER BY until LIMIT ?3) \
             RETURNING n",
        )
        .bind(signed(wall.unix_millis())?)
        .bind(signed(before)?)
        .bind(AT_ONCE)
        .fetch_all(&mut *transaction)
        .await
        .map_err(LogUnavailable::new)?;
        sqlx::query("UPDATE feed_horizon SET n = max(n, ?1)")
            .bind(gone.iter().max().copied().unwrap_or_default())
            .execute(&mut *transaction)
            .await
            .map_err(LogUnavailable::new)?;
        transaction.commit().await.map_err(LogUnavailable::new)?;
        Ok(gone.len() as i64 == AT_ONCE)
    }
}

async fn read_after(snapshot: &mut SqliteConnection, after: Position) -> Result<Read, LogUnavailable> {
    // A number that no log can have is in none.
    let Ok(number) = i64::try_from(after.number) else { return Ok(Read::Diverged) };
    let (horizon, tag): (i64, Option<i64>) =
        sqlx::query_as("SELECT n, (SELECT tag FROM feed_log WHERE n = ?1) FROM feed_horizon")
            .bind(number)
            .fetch_one(&mut *snapshot)
            .await
            .map_err(LogUnavailable::new)?;
    let found = match tag {
        Some(tag) => tag == after.tag.0.cast_signed(),
        None => after == Position::START,
    };
    if !found || number < horizon {
        return Ok(Read::Diverged);
    }
    let entries = entries_after(snapshot, after).await?;
    let head = entries.last().map_or(after, |entry| entry.position);
    Ok(Read::Current { head, entries })
}

async fn entries_after(
    snapshot: &mut SqliteConnection,
    after: Position,
) -> Result<Vec<Entry>, LogUnavailable> {
    let rows: Vec<EntryRow> =
        sqlx::query_as("SELECT n, tag, what, key, min, spared, until FROM feed_log WHERE n > ?1 ORDER BY n")
            .bind(signed(after.number)?)
            .fetch_all(snapshot)
            .await
            .map_err(LogUnavailable::new)?;
    rows.into_iter().map(|row| row.try_into().map_err(LogUnavailable::new)).collect()
}
