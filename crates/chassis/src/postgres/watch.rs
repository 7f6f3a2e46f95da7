//! Whether the database still answers: said to operators, who could otherwise learn it only from those who are refused.

use std::time::Duration;

use super::Database;
use super::open::reason;
use crate::lifecycle::Readiness;

const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Database {
    /// Says on `readiness` when the database is lost and when it is back. Until the process is ready, a start has its own to
    /// say.
    pub(super) async fn watch(self, readiness: Readiness) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.pool.is_closed() {
                // The process stops. What supports it may not end before it does.
                return std::future::pending().await;
            }
            if !readiness.has_been_ready() {
                continue;
            }
            match self.look().await {
                Ok(()) => readiness.ready(),
                Err(_) if self.pool.is_closed() => {}
                Err(error) => {
                    readiness.not_ready(format!("the database does not answer: {}", reason(&error)));
                }
            }
        }
    }

    async fn look(&self) -> Result<(), sqlx::Error> {
        self.in_time(async |attempt| {
            sqlx::query("SELECT 1").execute(&mut *attempt.connection().await?).await.map(drop)
        })
        .await
    }
}
