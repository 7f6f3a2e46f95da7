//! Removing what time has made useless, a bounded number of rows at a time so that writers wait only briefly.

use sqlx::SqliteConnection;
use time::OffsetDateTime;

use super::SqliteStore;
use crate::store::{ENDED_KEPT, StoreError, Useless, row};

impl SqliteStore {
    pub(super) async fn sweep(
        &self,
        what: Useless,
        by: OffsetDateTime,
        limit: u32,
    ) -> Result<u64, StoreError> {
        match what {
            Useless::Successors => self.sweep_successors(by, limit).await,
            Useless::Families => self.sweep_families(by, limit).await,
            Useless::Tokens => self.sweep_tokens(by, limit).await,
            Useless::Throttles => self.sweep_throttles(by, limit).await,
        }
    }

    async fn sweep_successors(&self, by: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
        let wiped = sqlx::query(
            "UPDATE refresh_tokens SET successor = NULL WHERE digest IN ( \
               SELECT digest FROM refresh_tokens WHERE successor IS NOT NULL AND spent_at <= ?1 LIMIT ?2)",
        )
        .bind(row::millis(by))
        .bind(limit)
        .execute(self.0.writer())
        .await?;
        Ok(wiped.rows_affected())
    }

    /// The tokens first: a family that took all of its tokens along would be thousands of rows in one statement.
    async fn sweep_families(&self, by: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
        let over: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM families WHERE expires_at <= ?1 \
             UNION ALL SELECT id FROM families WHERE ended_at <= ?2 LIMIT ?3",
        )
        .bind(row::millis(by))
        .bind(row::millis(by - ENDED_KEPT))
        .bind(limit)
        .fetch_all(self.0.readers())
        .await?;
        let tokens = sqlx::query(
            "DELETE FROM refresh_tokens WHERE digest IN ( \
               SELECT digest FROM refresh_tokens WHERE family IN (SELECT value FROM json_each(?1)) LIMIT ?2)",
        )
        .bind(row::strings_column(over.iter().map(String::as_str)))
        .bind(limit)
        .execute(self.0.writer())
        .await?;
        let mut transaction = self.0.write().await?;
        let removed = without_tokens(&mut transaction, over).await?;
        transaction.commit().await?;
        Ok(tokens.rows_affected() + removed)
    }

    /// Tokens past their idle time, spent or not: neither can do anything any more. A family without tokens goes with
    /// its last.
    async fn sweep_tokens(&self, by: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
        let mut transaction = self.0.write().await?;
        let of: Vec<String> = sqlx::query_scalar(
            "DELETE FROM refresh_tokens WHERE digest IN ( \
               SELECT digest FROM refresh_tokens WHERE expires_at <= ?1 LIMIT ?2) RETURNING family",
        )
        .bind(row::millis(by))
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        let tokens = u64::try_from(of.len()).unwrap_or(u64::MAX);
        let removed = without_tokens(&mut transaction, of).await?;
        transaction.commit().await?;
        Ok(tokens.saturating_add(removed))
    }

    async fn sweep_throttles(&self, by: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
        let removed = sqlx::query(
            "DELETE FROM login_throttle WHERE (account, address) IN ( \
               SELECT account, address FROM login_throttle WHERE expires_at <= ?1 LIMIT ?2)",
        )
        .bind(row::millis(by))
        .bind(limit)
        .execute(self.0.writer())
        .await?;
        Ok(removed.rows_affected())
    }
}

/// Removes those of these families that have no token left.
async fn without_tokens(
    connection: &mut SqliteConnection,
    mut families: Vec<String>,
) -> Result<u64, StoreError> {
    families.sort_unstable();
    families.dedup();
    let mut removed = 0;
    for family in families {
        removed += sqlx::query(
            "DELETE FROM families WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM refresh_tokens WHERE family = ?1)",
        )
        .bind(family)
        .execute(&mut *connection)
        .await?
        .rows_affected();
    }
    Ok(removed)
}
