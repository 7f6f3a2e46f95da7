//! Counters of failed logins.

use time::OffsetDateTime;

use super::SqliteStore;
use crate::{
    domain::throttle::{Attempt, ThrottleKey, ThrottlePolicy},
    store::{
        StoreError,
        row::{self, duration_column},
    },
};

impl SqliteStore {
    pub(super) async fn reserve_attempt(
        &self,
        key: &ThrottleKey,
        policy: &ThrottlePolicy,
        now: OffsetDateTime,
    ) -> Result<Attempt, StoreError> {
        let first = now + policy.delay(1);
        // INVARIANT: one statement decides and counts, so that a burst gets no more tries than a queue. The `CASE` is
        // `ThrottlePolicy::delay` for the new count, held to it by the conformance suite.
        let reserved = sqlx::query(
            "INSERT INTO login_throttle (account, address, failures, not_before, expires_at) \
             VALUES (?1, ?2, 1, ?4, ?4 + ?8) \
             ON CONFLICT (account, address) DO UPDATE SET \
               failures = CASE WHEN expires_at <= ?3 THEN 1 ELSE failures + 1 END, \
               not_before = CASE WHEN expires_at <= ?3 THEN ?4 WHEN failures + 1 < ?5 THEN ?3 \
                                 ELSE ?3 + MIN(?7, ?6 << MIN(failures + 1 - ?5, 20)) END, \
               expires_at = ?8 + CASE WHEN expires_at <= ?3 THEN ?4 WHEN failures + 1 < ?5 THEN ?3 \
                                      ELSE ?3 + MIN(?7, ?6 << MIN(failures + 1 - ?5, 20)) END \
             WHERE not_before <= ?3 OR expires_at <= ?3",
        )
        .bind(key.account.as_slice())
        .bind(&key.address)
        .bind(row::millis(now))
        .bind(row::millis(first))
        .bind(i64::from(policy.free))
        .bind(duration_column(policy.first_delay))
        .bind(duration_column(policy.max_delay))
        .bind(duration_column(policy.forget_after))
        .execute(self.0.writer())
        .await?;
        if reserved.rows_affected() == 1 {
            return Ok(Attempt::Reserved);
        }
        let not_before: Option<i64> =
            sqlx::query_scalar("SELECT not_before FROM login_throttle WHERE account = ?1 AND address = ?2")
                .bind(key.account.as_slice())
                .bind(&key.address)
                .fetch_optional(self.0.readers())
                .await?;
        // Forgotten in between: somebody logged in. Soon is the truth.
        let until = not_before.map_or(Ok(now + policy.first_delay), row::time)?;
        Ok(Attempt::TooMany { until })
    }

    pub(super) async fn return_attempt(
        &self,
        key: &ThrottleKey,
        policy: &ThrottlePolicy,
        reserved_at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        // It was reserved when another try was allowed, and so it is again. A delay from another time on is another attempt's.
        sqlx::query(
            "UPDATE login_throttle SET failures = failures - 1, \
               not_before = CASE WHEN failures <= ?4 THEN ?3 \
                                 WHEN not_before = ?3 + MIN(?6, ?5 << MIN(failures - ?4, 20)) THEN ?3 \
                                 ELSE not_before END, \
               expires_at = CASE WHEN failures <= ?4 THEN ?3 + ?7 \
                                 WHEN not_before = ?3 + MIN(?6, ?5 << MIN(failures - ?4, 20)) THEN ?3 + ?7 \
                                 ELSE expires_at END \
             WHERE account = ?1 AND address = ?2 AND failures > 0",
        )
        .bind(key.account.as_slice())
        .bind(&key.address)
        .bind(row::millis(reserved_at))
        .bind(i64::from(policy.free))
        .bind(duration_column(policy.first_delay))
        .bind(duration_column(policy.max_delay))
        .bind(duration_column(policy.forget_after))
        .execute(self.0.writer())
        .await?;
        Ok(())
    }

    pub(super) async fn forget_attempts(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM login_throttle WHERE account = ?1 AND address = ?2")
            .bind(key.account.as_slice())
            .bind(&key.address)
            .execute(self.0.writer())
            .await?;
        Ok(())
    }
}
