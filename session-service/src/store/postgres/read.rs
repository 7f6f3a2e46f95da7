//! What is read: in single statements, each of which sees one state of the tables.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::{SecretDigest, Session, SessionId};
use crate::store::row::{LinkRow, SessionRow, columns, found, milliseconds};
use crate::store::{Found, Listing, StoreError};

pub(super) async fn find(
    connection: &mut PgConnection,
    secret: SecretDigest,
    now: OffsetDateTime,
) -> Result<Option<Found>, StoreError> {
    let row: Option<SessionRow> = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM sessions s WHERE s.secret_digest = $1 AND s.ended_at IS NULL AND s.absolute_expires_at > $2"
    ))
    .bind(secret.as_bytes())
    .bind(milliseconds(now))
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(row) = row {
        return Ok(Some(Found { session: row.try_into()?, successors: Vec::new() }));
    }
    // A current secret can become a former one between the two statements, and is then found here; the way back
    // does not exist. The chain is read in one statement, so that no rotation falls between its links.
    let chain: Vec<LinkRow> = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        ", later.sealed FROM former_secrets presented \
         JOIN sessions s ON s.id = presented.session_id \
         JOIN former_secrets later ON later.session_id = s.id AND later.rotation >= presented.rotation \
         WHERE presented.digest = $1 AND presented.accepted_until > $2 \
         AND s.ended_at IS NULL AND s.absolute_expires_at > $2 \
         ORDER BY later.rotation"
    ))
    .bind(secret.as_bytes())
    .bind(milliseconds(now))
    .fetch_all(connection)
    .await?;
    found(chain)
}

pub(super) async fn get(
    connection: &mut PgConnection,
    id: &SessionId,
    now: OffsetDateTime,
) -> Result<Option<Session>, StoreError> {
    let row: Option<SessionRow> = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM sessions s WHERE s.id = $1 AND s.ended_at IS NULL AND s.absolute_expires_at > $2"
    ))
    .bind(id.as_str())
    .bind(milliseconds(now))
    .fetch_optional(&mut *connection)
    .await?;
    row.map(Session::try_from).transpose()
}

pub(super) async fn list(
    connection: &mut PgConnection,
    listing: &Listing,
) -> Result<Vec<Session>, StoreError> {
    let (after_created, after_id) = match &listing.after {
        Some(after) => (milliseconds(after.created_at), after.id.as_str()),
        None => (i64::MAX, ""),
    };
    // Two statements, so that each can use its index.
    let sql = match &listing.subject {
        Some(_) => concat!(
            "SELECT ",
            columns!(),
            " FROM sessions s WHERE s.ended_at IS NULL AND s.absolute_expires_at > $1 AND s.last_active_at > $2 \
             AND (s.created_at, s.id) < ($3, $4) AND s.subject = $6 ORDER BY s.created_at DESC, s.id DESC LIMIT $5"
        ),
        None => concat!(
            "SELECT ",
            columns!(),
            " FROM sessions s WHERE s.ended_at IS NULL AND s.absolute_expires_at > $1 AND s.last_active_at > $2 \
             AND (s.created_at, s.id) < ($3, $4) ORDER BY s.created_at DESC, s.id DESC LIMIT $5"
        ),
    };
    let mut query = sqlx::query_as::<_, SessionRow>(sql)
        .bind(milliseconds(listing.now))
        .bind(milliseconds(listing.idle_since))
        .bind(after_created)
        .bind(after_id)
        .bind(i64::from(listing.most));
    if let Some(subject) = &listing.subject {
        query = query.bind(subject.as_str());
    }
    let rows = query.fetch_all(connection).await?;
    rows.into_iter().map(Session::try_from).collect()
}
