//! Endings: the tombstone, and what goes with it.

use sqlx::PgConnection;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use time::OffsetDateTime;

use crate::domain::EndReason;
use crate::store::row::{EndedRow, milliseconds};
use crate::store::{Ended, Ending, StoreError};

/// Sets the tombstone and wipes what only a session needs. `$1` is the moment, `$2` the reason.
macro_rules! end_where {
    ($condition:literal) => {
        concat!(
            "UPDATE sessions SET ended_at = $1, end_reason = $2, attributes = '{}' \
             WHERE ended_at IS NULL AND ",
            $condition,
            " RETURNING id, subject, last_active_at"
        )
    };
}
pub(super) use end_where;

/// What [`end_where`] makes.
pub(super) type EndQuery<'q> = QueryAs<'q, sqlx::Postgres, EndedRow, PgArguments>;

pub(super) async fn end(
    connection: &mut PgConnection,
    ending: &Ending,
    reason: EndReason,
    now: OffsetDateTime,
) -> Result<Vec<Ended>, StoreError> {
    let query = match ending {
        Ending::One(id) => {
            begun(end_where!("absolute_expires_at > $1 AND id = $3"), now, reason).bind(id.as_str())
        }
        Ending::OneOf(id, subject) => {
            begun(end_where!("absolute_expires_at > $1 AND id = $3 AND subject = $4"), now, reason)
                .bind(id.as_str())
                .bind(subject.as_str())
        }
        Ending::AllOf(subject) => {
            begun(end_where!("absolute_expires_at > $1 AND subject = $3"), now, reason).bind(subject.as_str())
        }
        Ending::OthersOf(subject, id) => {
            begun(end_where!("absolute_expires_at > $1 AND subject = $3 AND id <> $4"), now, reason)
                .bind(subject.as_str())
                .bind(id.as_str())
        }
    };
    finished(query, connection, reason).await
}

/// With the moment and the reason bound.
pub(super) fn begun(sql: &'static str, now: OffsetDateTime, reason: EndReason) -> EndQuery<'static> {
    sqlx::query_as(sql).bind(milliseconds(now)).bind(reason.as_str())
}

/// Runs it, and wipes what was sealed for the sessions just ended: in a statement of its own, which sees what a rotation
/// wrote that held the row until a moment ago.
pub(super) async fn finished(
    query: EndQuery<'_>,
    connection: &mut PgConnection,
    reason: EndReason,
) -> Result<Vec<Ended>, StoreError> {
    let rows = query.fetch_all(&mut *connection).await?;
    let ended: Vec<Ended> = rows.into_iter().map(|row| row.ended(reason)).collect::<Result<_, _>>()?;
    if !ended.is_empty() {
        let ids: Vec<&str> = ended.iter().map(|one| one.id.as_str()).collect();
        sqlx::query("DELETE FROM former_secrets WHERE session_id = ANY($1)")
            .bind(ids)
            .execute(connection)
            .await?;
    }
    Ok(ended)
}
