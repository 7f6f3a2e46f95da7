//! What nobody asks for and must happen all the same: activity is written, and what no answer depends on is deleted.

use super::Sessions;
use crate::domain::Subject;
use crate::store::{StoreError, Sweep, Swept};

/// Rows deleted in one transaction, so that no login waits long behind it.
const SWEEP_BATCH: u32 = 500;

impl Sessions {
    /// One round of writing everybody's activity; then the sessions go that have been idle for too long, and for as long
    /// again as activity may be unwritten. Only here: before their activity is written, they may be anything but idle.
    pub async fn flush_activity(&self) -> Result<Swept, StoreError> {
        self.activity.forget_written();
        self.write_activity(None).await?;
        let now = self.now();
        let idle_before = self.lifetimes.idle_since(now) - 2 * self.lifetimes.activity_granularity();
        self.sweep_all(Sweep { now, idle_before: Some(idle_before), most: SWEEP_BATCH }).await
    }

    /// Resolves when [`Self::write_returned`] has something to do.
    pub async fn somebody_returned(&self) {
        self.activity.somebody_returned().await;
    }

    /// Writes the activity of those who came back after a long time. What cannot be written is in the next batch.
    pub async fn write_returned(&self) -> Result<(), StoreError> {
        let returned = self.activity.returned();
        if returned.is_empty() {
            return Ok(());
        }
        self.store.record_activity(&returned).await?;
        self.activity.written(&returned);
        self.figures.activity_written.add(returned.len() as u64);
        Ok(())
    }

    /// One round of deleting what is over whatever anybody does: sessions and tombstones past their absolute expiry,
    /// sealed successors whose window has closed, proofs that nobody would accept.
    pub async fn sweep(&self) -> Result<Swept, StoreError> {
        self.sweep_all(Sweep { now: self.now(), idle_before: None, most: SWEEP_BATCH }).await
    }

    async fn sweep_all(&self, sweep: Sweep) -> Result<Swept, StoreError> {
        let mut total = Swept::default();
        loop {
            let swept = self.store.sweep(sweep).await?;
            total.sessions += swept.sessions;
            total.successors += swept.successors;
            total.proofs += swept.proofs;
            let fullest = swept.sessions.max(swept.successors).max(swept.proofs);
            if fullest < u64::from(SWEEP_BATCH) {
                self.figures.swept.add(total.sessions);
                return Ok(total);
            }
        }
    }

    pub(super) async fn write_activity(&self, subject: Option<&Subject>) -> Result<(), StoreError> {
        let activity = match subject {
            Some(subject) => self.activity.unwritten_of(subject),
            None => self.activity.unwritten(),
        };
        if activity.is_empty() {
            return Ok(());
        }
        self.store.record_activity(&activity).await?;
        self.activity.written(&activity);
        self.figures.activity_written.add(activity.len() as u64);
        Ok(())
    }
}
