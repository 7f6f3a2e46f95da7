//! Counters of failed logins.

use chassis::postgres::Attempt;
use time::OffsetDateTime;

use crate::{
    domain::throttle::{self, ThrottleKey, ThrottlePolicy},
    store::{
        StoreError,
        row::{self, duration_column},
    },
};

pub(super) async fn reserve(
    attempt: Attempt,
    key: &ThrottleKey,
    policy: &ThrottlePolicy,
    now: OffsetDateTime,
) -> Result<throttle::Attempt, StoreError> {
    let first = now + policy.delay(1);
    // INVARIANT: one statement decides and counts, so that a burst gets no more tries than a queue. The `CASE` is
    // `ThrottlePolicy::delay` for the new count, held to it by the conformance suite.
    let mut connection = attempt.connection().await?;
    let reserved = sqlx::query(
        "INSERT INTO login_throttle AS t (account, address, failures, not_before, expires_at) \
         VALUES ($1, $2, 1, $4, $4 + $8) \
         ON CONFLICT (account, address) DO UPDATE SET \
           failures = CASE WHEN t.expires_at <= $3 THEN 1 ELSE t.failures + 1 END, \
           not_before = CASE WHEN t.expires_at <= $3 THEN $4 WHEN t.failures + 1 < $5 THEN $3 \
                             ELSE $3 + least($7, $6 << least(t.failures + 1 - $5, 20)::integer) END, \
           expires_at = $8 + CASE WHEN t.expires_at <= $3 THEN $4 WHEN t.failures + 1 < $5 THEN $3 \
                                  ELSE $3 + least($7, $6 << least(t.failures + 1 - $5, 20)::integer) END \
         WHERE t.not_before <= $3 OR t.expires_at <= $3",
    )
    .bind(key.account.as_slice())
    .bind(&key.address)
    .bind(row::millis(now))
    .bind(row::millis(first))
    .bind(i64::from(policy.free))
    .bind(duration_column(policy.first_delay))
    .bind(duration_column(policy.max_delay))
    .bind(duration_column(policy.forget_after))
    .execute(&mut *connection)
    .await?;
    if reserved.rows_affected() == 1 {
        return Ok(throttle::Attempt::Reserved);
    }
    let not_before: Option<i64> =
        sqlx::query_scalar("SELECT not_before FROM login_throttle WHERE account = $1 AND address = $2")
            .bind(key.account.as_slice())
            .bind(&key.address)
            .fetch_optional(&mut *connection)
            .await?;
    // Forgotten in between: somebody logged in. Soon is the truth.
    let until = not_before.map_or(Ok(now + policy.first_delay), row::time)?;
    Ok(throttle::Attempt::TooMany { until })
}

pub(super) async fn give_back(
    attempt: Attempt,
    key: &ThrottleKey,
    policy: &ThrottlePolicy,
    reserved_at: OffsetDateTime,
) -> Result<(), StoreError> {
    // It was reserved when another try was allowed, and so it is again. A delay from another time on is another attempt's.
    sqlx::query(
        "UPDATE login_throttle SET failures = failures - 1, \
           not_before = CASE WHEN failures <= $4 THEN $3 \
                             WHEN not_before = $3 + least($6, $5 << least(failures - $4, 20)::integer) THEN $3 \
                             ELSE not_before END, \
           expires_at = CASE WHEN failures <= $4 THEN $3 + $7 \
                             WHEN not_before = $3 + least($6, $5 << least(failures - $4, 20)::integer) THEN $3 + $7 \
                             ELSE expires_at END \
         WHERE account = $1 AND address = $2 AND failures > 0",
    )
    .bind(key.account.as_slice())
    .bind(&key.address)
    .bind(row::millis(reserved_at))
    .bind(i64::from(policy.free))
    .bind(duration_column(policy.first_delay))
    .bind(duration_column(policy.max_delay))
    .bind(duration_column(policy.forget_after))
    .execute(&mut *attempt.connection().await?)
    .await?;
    Ok(())
}

pub(super) async fn forget(attempt: Attempt, key: &ThrottleKey) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM login_throttle WHERE account = $1 AND address = $2")
        .bind(key.account.as_slice())
        .bind(&key.address)
        .execute(&mut *attempt.connection().await?)
        .await?;
    Ok(())
}
