//! Deletes what no answer depends on any more, a bounded number of each kind, and leaves to others what they are at.

use sqlx::PgConnection;

use crate::store::row::milliseconds;
use crate::store::{StoreError, Sweep, Swept};

pub(super) async fn sweep(connection: &mut PgConnection, sweep: Sweep) -> Result<Swept, StoreError> {
    let now = milliseconds(sweep.now);
    let most = i64::from(sweep.most);
    let successors = sqlx::query(
        "DELETE FROM former_secrets WHERE digest IN \
         (SELECT digest FROM former_secrets WHERE accepted_until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(now)
    .bind(most)
    .execute(&mut *connection)
    .await?;
    let expired = sqlx::query(
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE absolute_expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(now)
    .bind(most)
    .execute(&mut *connection)
    .await?;
    let idle = sqlx::query(
        "DELETE FROM sessions WHERE id IN \
         (SELECT id FROM sessions WHERE ended_at IS NULL AND last_active_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    // Nothing is earlier than NULL.
    .bind(sweep.idle_before.map(milliseconds))
    .bind(most)
    .execute(&mut *connection)
    .await?;
    let proofs = sqlx::query(
        "DELETE FROM spent_proofs WHERE jti IN (SELECT jti FROM spent_proofs WHERE keep_until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(now)
    .bind(most)
    .execute(&mut *connection)
    .await?;
    Ok(Swept {
        sessions: expired.rows_affected() + idle.rows_affected(),
        successors: successors.rows_affected(),
        proofs: proofs.rows_affected(),
    })
}
