//! What has happened, counted: plain atomics, since resolving is on the path of every request. Labels are bounded sets.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::EndReason;

#[derive(Debug, Default)]
pub struct Figures {
    pub created: Figure,
    pub proofs_refused: Figure,
    pub limit_refused: Figure,
    pub resolved: Figure,
    pub not_found: Figure,
    pub rotated: Figure,
    pub activity_written: Figure,
    pub swept: Figure,
    ended: [Figure; EndReason::ALL.len()],
}

impl Figures {
    /// How many sessions ended for this reason.
    pub fn ended(&self, reason: EndReason) -> &Figure {
        let [logout, administration, limit, replaced, expired] = &self.ended;
        match reason {
            EndReason::Logout => logout,
            EndReason::Administration => administration,
            EndReason::Limit => limit,
            EndReason::Replaced => replaced,
            EndReason::Expired => expired,
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Figure(AtomicU64);

impl Figure {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
