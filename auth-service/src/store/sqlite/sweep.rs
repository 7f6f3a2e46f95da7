//! Removing what time has made useless, a bounded number of rows at a time so that writers wait only briefly.

use time::OffsetDateTime;

use super::SqliteStore;
use crate::store::{ENDED_KEPT, StoreError, Swept, row};

impl SqliteStore {
    pub(super) async fn sweep(
        &self,
        now: OffsetDateTime,
        window_closed: OffsetDateTime,
        limit: u32,
    ) -> Result<Swept, StoreError> {
        let wiped = sqlx::query(
            "UPDATE refresh_tokens SET successor = NULL WHERE digest IN ( \
               SELECT digest FROM refresh_tokens WHERE successor IS NOT NULL AND spent_at <= ?1 LIMIT ?2)",
        )
        .bind(row::millis(window_closed))
        .bind(limit)
        .execute(self.0.writer())
        .await?;
        let families = sqlx::query(
            "DELETE FROM families WHERE id IN ( \
               SELECT id FROM families WHERE expires_at <= ?1 \
               UNION ALL SELECT id FROM families WHERE ended_at <= ?2 LIMIT ?3)",
        )
        .bind(row::millis(now))
        .bind(row::millis(now - ENDED_KEPT))
        .bind(limit)
        .execute(self.0.writer())
        .await?;
        let idle = self.sweep_idle(now, limit).await?;
        let throttles = sqlx::query(
            "DELETE FROM login_throttle WHERE (account, address) IN ( \
               SELECT account, address FROM login_throttle WHERE expires_at <= ?1 LIMIT ?2)",
        )
        .bind(row::millis(now))
        .bind(limit)
        .execute(self.0.writer())
        .await?;
        Ok(Swept {
            families: families.rows_affected() + idle,
            successors: wiped.rows_affected(),
            throttles: throttles.rows_affected(),
        })
    }

    /// Tokens past their idle time, spent or not: neither can do anything any more. A family without tokens goes with
    /// its last.
    async fn sweep_idle(&self, now: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
        let mut transaction = self.0.write().await?;
        let mut families: Vec<String> = sqlx::query_scalar(
            "DELETE FROM refresh_tokens WHERE digest IN ( \
               SELECT digest FROM refresh_tokens WHERE expires_at <= ?1 LIMIT ?2) RETURNING family",
        )
        .bind(row::millis(now))
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        families.sort_unstable();
        families.dedup();
        let mut removed = 0;
        for family in families {
            removed += sqlx::query(
                "DELETE FROM families WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM refresh_tokens WHERE family = ?1)",
            )
            .bind(family)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        }
        transaction.commit().await?;
        Ok(removed)
    }
}
