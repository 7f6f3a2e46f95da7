//! Removing what time has made useless, a bounded number of rows at a time, leaving to other replicas what they are at.
//!
//! What goes is chosen once, as an array: a subquery after `IN` may be run again for each row, and the bound with it.

use chassis::postgres::Attempt;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::store::{ENDED_KEPT, StoreError, row};

pub(super) async fn successors(attempt: Attempt, by: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
    let wiped = sqlx::query(
        "UPDATE refresh_tokens SET successor = NULL WHERE digest = ANY (ARRAY( \
           SELECT digest FROM refresh_tokens WHERE successor IS NOT NULL AND spent_at <= $1 LIMIT $2 \
           FOR UPDATE SKIP LOCKED))",
    )
    .bind(row::millis(by))
    .bind(i64::from(limit))
    .execute(&mut *attempt.connection().await?)
    .await?;
    Ok(wiped.rows_affected())
}

/// The tokens first: a family that took all of its tokens along would be thousands of rows in one statement. Each statement is on
/// its own, so that what one has removed stays removed, whatever becomes of the next.
pub(super) async fn families(attempt: Attempt, by: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
    let mut connection = attempt.connection().await?;
    let over: Vec<String> =
        sqlx::query_scalar("SELECT id FROM families WHERE expires_at <= $1 OR ended_at <= $2 LIMIT $3")
            .bind(row::millis(by))
            .bind(row::millis(by - ENDED_KEPT))
            .bind(i64::from(limit))
            .fetch_all(&mut *connection)
            .await?;
    let tokens = sqlx::query(
        "DELETE FROM refresh_tokens WHERE digest = ANY (ARRAY( \
           SELECT digest FROM refresh_tokens WHERE family = ANY ($1) LIMIT $2 FOR UPDATE SKIP LOCKED))",
    )
    .bind(&over)
    .bind(i64::from(limit))
    .execute(&mut *connection)
    .await?;
    Ok(tokens.rows_affected() + without_tokens(&mut connection, &over).await?)
}

/// Tokens past their idle time, spent or not: neither can do anything any more. A family without tokens goes with
/// its last.
pub(super) async fn tokens(attempt: Attempt, by: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
    let mut transaction = attempt.begin().await?;
    let of: Vec<String> = sqlx::query_scalar(
        "DELETE FROM refresh_tokens WHERE digest = ANY (ARRAY( \
           SELECT digest FROM refresh_tokens WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)) RETURNING family",
    )
    .bind(row::millis(by))
    .bind(i64::from(limit))
    .fetch_all(&mut *transaction)
    .await?;
    let families = without_tokens(&mut transaction, &of).await?;
    transaction.commit().await?;
    Ok(u64::try_from(of.len()).unwrap_or(u64::MAX).saturating_add(families))
}

/// Removes those of these families that have no token left.
async fn without_tokens(connection: &mut PgConnection, families: &[String]) -> Result<u64, StoreError> {
    let removed = sqlx::query(
        "DELETE FROM families WHERE id = ANY (ARRAY( \
           SELECT id FROM families f WHERE id = ANY ($1) \
             AND NOT EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.family = f.id) FOR UPDATE SKIP LOCKED))",
    )
    .bind(families)
    .execute(connection)
    .await?;
    Ok(removed.rows_affected())
}

pub(super) async fn throttles(attempt: Attempt, by: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
    let removed = sqlx::query(
        "DELETE FROM login_throttle WHERE ctid = ANY (ARRAY( \
           SELECT ctid FROM login_throttle WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))",
    )
    .bind(row::millis(by))
    .bind(i64::from(limit))
    .execute(&mut *attempt.connection().await?)
    .await?;
    Ok(removed.rows_affected())
}
