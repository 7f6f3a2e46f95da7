//! Removing what time has made useless, a bounded number of rows at a time, leaving to other replicas what they are at.
//!
//! What goes is chosen once, as an array: a subquery after `IN` may be run again for each row, and the bound with it.

use chassis::postgres::Attempt;
use time::OffsetDateTime;

use crate::store::{ENDED_KEPT, StoreError, row};

pub(super) async fn successors(
    attempt: Attempt,
    window_closed: OffsetDateTime,
    limit: u32,
) -> Result<u64, StoreError> {
    let wiped = sqlx::query(
        "UPDATE refresh_tokens SET successor = NULL WHERE digest = ANY (ARRAY( \
           SELECT digest FROM refresh_tokens WHERE successor IS NOT NULL AND spent_at <= $1 LIMIT $2 \
           FOR UPDATE SKIP LOCKED))",
    )
    .bind(row::millis(window_closed))
    .bind(i64::from(limit))
    .execute(&mut *attempt.connection().await?)
    .await?;
    Ok(wiped.rows_affected())
}

pub(super) async fn families(attempt: Attempt, now: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
    let removed = sqlx::query(
        "DELETE FROM families WHERE id = ANY (ARRAY( \
           SELECT id FROM families WHERE expires_at <= $1 OR ended_at <= $2 LIMIT $3 FOR UPDATE SKIP LOCKED))",
    )
    .bind(row::millis(now))
    .bind(row::millis(now - ENDED_KEPT))
    .bind(i64::from(limit))
    .execute(&mut *attempt.connection().await?)
    .await?;
    Ok(removed.rows_affected())
}

/// Tokens past their idle time, spent or not: neither can do anything any more. A family without tokens goes with
/// its last.
pub(super) async fn idle(attempt: Attempt, now: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
    let mut transaction = attempt.begin().await?;
    let families: Vec<String> = sqlx::query_scalar(
        "DELETE FROM refresh_tokens WHERE digest = ANY (ARRAY( \
           SELECT digest FROM refresh_tokens WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)) RETURNING family",
    )
    .bind(row::millis(now))
    .bind(i64::from(limit))
    .fetch_all(&mut *transaction)
    .await?;
    let removed = sqlx::query(
        "DELETE FROM families f WHERE id = ANY($1) \
         AND NOT EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.family = f.id)",
    )
    .bind(families)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(removed.rows_affected())
}

pub(super) async fn throttles(attempt: Attempt, now: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
    let removed = sqlx::query(
        "DELETE FROM login_throttle WHERE ctid = ANY (ARRAY( \
           SELECT ctid FROM login_throttle WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))",
    )
    .bind(row::millis(now))
    .bind(i64::from(limit))
    .execute(&mut *attempt.connection().await?)
    .await?;
    Ok(removed.rows_affected())
}
