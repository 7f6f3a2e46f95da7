//! How a replica stands, for readiness and metrics.

use std::time::Duration;

use crate::{Moment, Position, Replica};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Whether it can answer for anything at all: from its first beat on.
    pub is_ready: bool,
    /// Until when it may answer from memory.
    pub right: Option<Moment>,
    pub applied: Position,
    /// Things that are remembered as ended.
    pub remembered: usize,
    /// Signing keys that it has heard the end of; what it has confirmed is among them.
    pub keys_ended: u64,
    /// Connections of watchers.
    pub watchers: usize,
    /// Leases that may still be valid.
    pub leases: usize,
    /// What was committed longer ago, it knows.
    pub staleness: Option<Duration>,
    /// Acknowledgements of what was never sent.
    pub stray_acknowledgements: u64,
}

impl View {
    pub(super) fn of(core: &Replica, now: Moment) -> Self {
        let (watchers, leases) = core.watchers(now);
        Self {
            is_ready: core.is_ready(),
            right: core.right(),
            applied: core.applied(),
            remembered: core.memory().len(),
            keys_ended: core.memory().keys_ended(),
            watchers,
            leases,
            staleness: core.staleness(now),
            stray_acknowledgements: core.stray_acknowledgements(),
        }
    }
}
