//! The log in a service's own PostgreSQL database, so that an ending and the row that it changes are one transaction.
//!
//! Connections have `synchronous_commit = on` and READ COMMITTED. Whatever an answer rests on also writes a little into the server's
//! own log: a standby refuses that, and a primary that was deposed while a synchronous standby took its place cannot commit it.
//! Also the members, although they are read after a commit: that may have been on another connection, to another server.

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};

use super::{
    AT_ONCE, Appended, Beat, Log, LogUnavailable, MAX_APPEND, Placed, Read, Snapshot,
    row::{EntryRow, MemberRow, position, signed},
};
use crate::{
    change::{Entry, Position},
    member::{Member, MemberId},
    time::Wall,
};

/// For a migration of the service that owns the database, before [`APPEND`].
pub const TABLES: &str = include_str!("postgres/tables.sql");
/// The one way into the log.
pub const APPEND: &str = include_str!("postgres/append.sql");

/// Appends within the caller's transaction: what the entries end and the entries are committed together, or not at all.
/// Every other append waits until it is committed, so nothing may follow but the commit. The position holds from then on.
pub async fn append_within(
    connection: &mut PgConnection,
    changes: &[Appended],
) -> Result<Placed, LogUnavailable> {
    let last = match changes.last() {
        Some(last) if changes.len() <= MAX_APPEND => last,
        _ => return Err(LogUnavailable::new("an append carries between one and 256 changes")),
    };
    let each = || changes.iter().map(|appended| &appended.change);
    let mins = each().map(|change| change.min.map(signed).transpose()).collect::<Result<Vec<_>, _>>()?;
    let untils = each().map(|change| signed(change.until.unix_millis())).collect::<Result<Vec<_>, _>>()?;
    let (number, tag_before): (i64, Option<i64>) =
        sqlx::query_as("SELECT n, tag_before FROM feed_append_after($1, $2, $3, $4, $5, $6)")
            .bind(changes.iter().map(|appended| appended.tag.0.cast_signed()).collect::<Vec<_>>())
            .bind(each().map(|change| change.target.what.name()).collect::<Vec<_>>())
            .bind(each().map(|change| change.target.key.to_string()).collect::<Vec<_>>())
            .bind(mins)
            .bind(each().map(|change| change.except.as_deref().map(str::to_owned)).collect::<Vec<_>>())
            .bind(untils)
            .fetch_one(connection)
            .await
            .map_err(LogUnavailable::new)?;
    let before = number - i64::try_from(changes.len()).map_err(LogUnavailable::new)?;
    let after = match (before, tag_before) {
        (0, _) => Some(Position::START),
        (number, Some(tag)) => Some(position((number, tag))?),
        (_, None) => {
            return Err(LogUnavailable::new("an entry that follows nothing in a log that is not empty"));
        }
    };
    Ok(Placed {
        after,
        last: Position { number: number.try_into().map_err(LogUnavailable::new)?, tag: last.tag },
    })
}

pub struct PostgresLog {
    pool: PgPool,
}

impl PostgresLog {
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    async fn lend(&self) -> Result<Lent, LogUnavailable> {
        Ok(Lent(Some(self.pool.acquire().await.map_err(LogUnavailable::new)?)))
    }
}

/// A connection that the pool gets back if its work came to an end, and that is cut if not: a pool waits for that end
/// before it lends the connection again, and from a server that is out of reach it does not come.
struct Lent(Option<PoolConnection<Postgres>>);

impl Lent {
    fn connection(&mut self) -> Result<&mut PgConnection, LogUnavailable> {
        self.0.as_deref_mut().ok_or_else(|| LogUnavailable::new("the connection was given back"))
    }

    fn give_back<T>(mut self, answer: Result<T, sqlx::Error>) -> Result<T, LogUnavailable> {
        let answer = answer.map_err(LogUnavailable::new)?;
        drop(self.0.take());
        Ok(answer)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

/// What one statement, and so one snapshot, says about a position: a row for each entry after it, or one without an entry.
#[derive(sqlx::FromRow)]
struct AfterRow {
    beaten: bool,
    millis: i64,
    horizon: i64,
    tag_there: Option<i64>,
    n: Option<i64>,
    tag: Option<i64>,
    what: Option<String>,
    key: Option<String>,
    min: Option<i64>,
    spared: Option<String>,
    until: Option<i64>,
}

#[async_trait]
impl Log for PostgresLog {
    async fn append(&self, changes: &[Appended]) -> Result<Placed, LogUnavailable> {
        // One statement, so one round trip: the lock is never held across another.
        let mut lent = self.lend().await?;
        let placed = append_within(lent.connection()?, changes).await?;
        lent.give_back(Ok(placed))
    }

    async fn read(&self, after: Position) -> Result<Read, LogUnavailable> {
        let Ok(number) = i64::try_from(after.number) else { return Ok(Read::Diverged) };
        let mut lent = self.lend().await?;
        let rows: Result<Vec<AfterRow>, _> = sqlx::query_as(
            "WITH written AS (SELECT pg_logical_emit_message(true, 'latchkey', '')) \
             SELECT EXISTS (SELECT FROM written) AS beaten, 0::bigint AS millis, horizon.n AS horizon, \
                    (SELECT there.tag FROM feed_log there WHERE there.n = $1) AS tag_there, \
                    log.n, log.tag, log.what, log.key, log.min, log.spared, log.until \
             FROM feed_horizon horizon LEFT JOIN feed_log log ON log.n > $1 ORDER BY log.n",
        )
        .bind(number)
        .fetch_all(lent.connection()?)
        .await;
        let rows = lent.give_back(rows)?;
        read_rows(after, rows)
    }

    async fn snapshot(&self) -> Result<Snapshot, LogUnavailable> {
        // On one connection, so that all of it is of one server. What is trimmed meanwhile concerns nothing, and what is
        // appended comes at the end.
        let mut lent = self.lend().await?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut position = Position::START;
        loop {
            let rows: Result<Vec<EntryRow>, _> = sqlx::query_as(
                "SELECT n, tag, what, key, min, spared, until FROM feed_log WHERE n > $1 ORDER BY n LIMIT $2",
            )
            .bind(signed(position.number)?)
            .bind(AT_ONCE)
            .fetch_all(lent.connection()?)
            .await;
            let rows = rows.map_err(LogUnavailable::new)?;
            let is_last = (rows.len() as i64) < AT_ONCE;
            for row in rows {
                entries.push(row.try_into().map_err(LogUnavailable::new)?);
            }
            position = entries.last().map_or(position, |entry| entry.position);
            if is_last {
                return lent.give_back(Ok(Snapshot { position, entries }));
            }
        }
    }

    async fn beat(&self, member: MemberId, after: Position) -> Result<Beat, LogUnavailable> {
        // No entry has that number, but the beat must be tried all the same.
        let number = i64::try_from(after.number).unwrap_or(i64::MAX);
        let mut lent = self.lend().await?;
        let rows: Result<Vec<AfterRow>, _> = sqlx::query_as(
            "WITH beat AS (UPDATE feed_member SET beat = beat + 1 WHERE id = $2 AND NOT fenced RETURNING 1) \
             SELECT EXISTS (SELECT FROM beat) AS beaten, \
                    (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS millis, horizon.n AS horizon, \
                    (SELECT there.tag FROM feed_log there WHERE there.n = $1) AS tag_there, \
                    log.n, log.tag, log.what, log.key, log.min, log.spared, log.until \
             FROM feed_horizon horizon LEFT JOIN feed_log log ON log.n > $1 ORDER BY log.n",
        )
        .bind(number)
        .bind(member.to_string())
        .fetch_all(lent.connection()?)
        .await;
        let rows = lent.give_back(rows)?;
        let millis = match rows.first() {
            Some(row) if row.beaten => row.millis,
            _ => return Ok(Beat::Fenced),
        };
        let time = Wall::from_unix_millis(millis.try_into().map_err(LogUnavailable::new)?);
        Ok(match read_rows(after, rows)? {
            Read::Diverged => Beat::Diverged,
            Read::Current { head, entries } => Beat::Current { head, entries, time },
        })
    }

    async fn register(&self, member: &Member) -> Result<(), LogUnavailable> {
        // A repeated registration must not lift a fence.
        let mut lent = self.lend().await?;
        let done = sqlx::query(
            "INSERT INTO feed_member (id, address, lease_ms, fenced) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
        )
        .bind(member.id.to_string())
        .bind(&member.address)
        .bind(signed(member.lease.as_millis())?)
        .bind(member.fenced)
        .execute(lent.connection()?)
            .await;
        lent.give_back(done).map(drop)
    }

    async fn fence(&self, member: MemberId) -> Result<(), LogUnavailable> {
        let mut lent = self.lend().await?;
        let done = sqlx::query("UPDATE feed_member SET fenced = true WHERE id = $1")
            .bind(member.to_string())
            .execute(lent.connection()?)
            .await;
        lent.give_back(done).map(drop)
    }

    async fn remove(&self, member: MemberId) -> Result<(), LogUnavailable> {
        let mut lent = self.lend().await?;
        let done = sqlx::query("DELETE FROM feed_member WHERE id = $1")
            .bind(member.to_string())
            .execute(lent.connection()?)
            .await;
        lent.give_back(done).map(drop)
    }

    async fn members(&self) -> Result<Vec<Member>, LogUnavailable> {
        let mut lent = self.lend().await?;
        let rows: Result<Vec<MemberRow>, _> = sqlx::query_as(
            "WITH written AS (SELECT pg_logical_emit_message(true, 'latchkey', '')) \
             SELECT id, address, lease_ms, fenced FROM feed_member WHERE EXISTS (SELECT FROM written) ORDER BY id",
        )
        .fetch_all(lent.connection()?)
        .await;
        let rows = lent.give_back(rows)?;
        rows.into_iter().map(|row| row.try_into().map_err(LogUnavailable::new)).collect()
    }

    async fn trim(&self, wall: Wall, before: u64) -> Result<bool, LogUnavailable> {
        let mut lent = self.lend().await?;
        let gone: Result<i64, _> = sqlx::query_scalar(
            "WITH gone AS (DELETE FROM feed_log WHERE n IN \
                           (SELECT n FROM feed_log WHERE until <= $1 AND n < least($2, (SELECT max(n) FROM feed_log)) \
                            ORDER BY until LIMIT $3) RETURNING n), \
                  moved AS (UPDATE feed_horizon SET n = greatest(n, (SELECT max(gone.n) FROM gone))) \
             SELECT count(*) FROM gone",
        )
        .bind(signed(wall.unix_millis())?)
        .bind(signed(before)?)
        .bind(AT_ONCE)
        .fetch_one(lent.connection()?)
        .await;
        Ok(lent.give_back(gone)? == AT_ONCE)
    }
}

fn read_rows(after: Position, rows: Vec<AfterRow>) -> Result<Read, LogUnavailable> {
    let Some(AfterRow { horizon, tag_there, .. }) = rows.first() else {
        return Err(LogUnavailable::new("the log has no horizon"));
    };
    let found = match tag_there {
        Some(tag) => *tag == after.tag.0.cast_signed(),
        None => after == Position::START,
    };
    if !found || i64::try_from(after.number).is_ok_and(|number| number < *horizon) {
        return Ok(Read::Diverged);
    }
    let mut entries: Vec<Entry> = Vec::new();
    for row in rows {
        let AfterRow { n, tag, what, key, min, spared, until, .. } = row;
        if let (Some(n), Some(tag), Some(what), Some(key), Some(until)) = (n, tag, what, key, until) {
            let row = EntryRow { n, tag, what, key, min, spared, until };
            entries.push(row.try_into().map_err(LogUnavailable::new)?);
        }
    }
    let head = entries.last().map_or(after, |entry| entry.position);
    Ok(Read::Current { head, entries })
}
