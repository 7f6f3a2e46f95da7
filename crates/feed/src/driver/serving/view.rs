//! How a replica stands, for readiness and metrics.

use std::time::Duration;

use crate::{LogClock, Moment, Position, Replica, replica::Misconduct};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Whether it can answer for anything at all: from its first beat on.
    pub is_ready: bool,
    /// As [`Replica::clocks_apart`].
    pub clocks_apart: bool,
    /// `None` before the first beat.
    pub log_clock: Option<LogClock>,
    /// Until when it may answer from memory.
    pub right: Option<Moment>,
    pub applied: Position,
    /// Things that are remembered as ended.
    pub remembered: usize,
    /// Signing keys that it has heard the end of; what it has confirmed is among them.
    pub keys_ended: u64,
    /// As [`Replica::roles_version`]; what it has confirmed is among them.
    pub roles_version: u64,
    /// Connections of watchers.
    pub watchers: usize,
    /// Leases that may still be valid.
    pub leases: usize,
    /// What was committed longer ago, it knows.
    pub staleness: Option<Duration>,
    pub misconduct: Noted,
}

/// How often watchers did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted([u64; Misconduct::EVERY.len()]);

impl Noted {
    pub fn count(&self, of: Misconduct) -> u64 {
        self.0.get(of as usize).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, misconduct: Misconduct) {
        if let Some(count) = self.0.get_mut(misconduct as usize) {
            *count += 1;
        }
    }
}

impl View {
    pub(super) fn of(core: &Replica, misconduct: Noted, now: Moment) -> Self {
        let (watchers, leases) = core.watchers(now);
        Self {
            is_ready: core.is_ready(),
            clocks_apart: core.clocks_apart(),
            log_clock: core.log_clock(),
            right: core.right(),
            applied: core.applied(),
            remembered: core.memory().len(),
            keys_ended: core.memory().keys_ended(),
            roles_version: core.roles_version(),
            watchers,
            leases,
            staleness: core.staleness(now),
            misconduct,
        }
    }
}
