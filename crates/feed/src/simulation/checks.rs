//! The judge: what was ended and acknowledged when, and what guards answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{machine::Instant, scenario::KEYS, world::World};
use crate::{broken::Broken, change::Position};

#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) violation: Option<String>,
    acknowledged: BTreeMap<usize, Instant>,
    /// Keys that somebody has begun to end.
    pub(super) begun: BTreeSet<usize>,
    pub(super) acknowledged_after: Vec<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Allowed {
        /// How far the log was when the roles were read that the request is answered with.
        roles: u64,
    },
    Denied,
    Unavailable,
}

impl World {
    /// What `guard` said to a request for `key` that began at `began`.
    pub(super) fn say(&mut self, guard: usize, key: usize, began: Instant, said: Said) {
        self.trace(|| format!("guard {guard} key {key} asked at {}: {said:?}", ms(began)));
        match said {
            Said::Allowed { roles } => {
                self.counts.allowed += 1;
                if key >= KEYS {
                    self.counts.fresh_roles += u64::from(said != self.allowed(key));
                    return self.check_issued(guard, key, began, roles);
                }
                if let Some(at) = self.checks.acknowledged.get(&key)
                    && began > *at
                {
                    let text = format!(
                        "key {key} acknowledged at {}, request began {}, allowed {} by guard {guard}",
                        ms(*at),
                        ms(began),
                        ms(self.now)
                    );
                    self.violate(text);
                }
            }
            Said::Denied => {
                self.counts.denied += 1;
                let ended =
                    if key >= KEYS { self.is_taken_back(key) } else { self.checks.begun.contains(&key) };
                if !ended {
                    self.violate(format!("key {key} is valid, denied {} by guard {guard}", ms(self.now)));
                }
            }
            Said::Unavailable => self.counts.unavailable += 1,
        }
    }

    pub(super) fn acknowledge(&mut self, key: usize, began: Instant) {
        self.checks.acknowledged_after.push(Duration::from_nanos(self.now - began));
        if self.checks.acknowledged.contains_key(&key) {
            return;
        }
        self.checks.acknowledged.insert(key, self.now);
        self.trace(|| format!("key {key} is acknowledged"));
        self.probe(key);
    }

    /// The log lost it: whoever had heard of it refuses, but nothing is promised any more.
    pub(super) fn excuse(&mut self, key: usize) {
        self.checks.acknowledged.remove(&key);
    }

    /// Invariant 3.
    pub(super) fn check_positions(&mut self, guard: usize, position: Position, after_reset: bool) {
        let Some(process) = self.guards.get_mut(guard) else { return };
        let previous = process.position.replace(position);
        let applied = std::mem::take(&mut process.applied);
        let Some(previous) = previous.filter(|_| !after_reset && self.broken != Some(Broken::BareSequence))
        else {
            return;
        };
        if !applied.iter().copied().eq(previous.number + 1..=position.number) {
            let text = format!("guard {guard} went from {previous:?} to {position:?} by {applied:?}");
            self.violate(text);
        }
    }

    pub(super) fn violate(&mut self, text: String) {
        self.checks.violation.get_or_insert(text);
    }
}

pub(super) fn ms(at: Instant) -> String {
    format!("{:.2} ms", at as f64 / 1e6)
}
