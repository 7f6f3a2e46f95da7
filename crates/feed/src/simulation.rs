//! Histories of the whole protocol in virtual time: three replicas, three guards, a log and their clients, on a network
//! and machines that do what networks and machines do. One seed is one history; it replays exactly.
//!
//! What runs are [`crate::Replica`], [`crate::Watcher`] and [`crate::Ledger`] themselves. This module is their driver, as
//! the real adapters are, and the judge of the three invariants:
//! 1. after an ending is acknowledged, no request that starts later is allowed by what was ended, nor by what was refreshed from
//!    it; and after a change of roles is, none is answered with roles from before it;
//! 2. nothing valid is reported invalid;
//! 3. the positions that a watcher sees are strictly increasing and without gaps between resets.

mod checks;
mod demotion;
mod driving;
mod faults;
mod guards;
mod issuing;
mod machine;
mod network;
mod queue;
mod replicas;
mod roles;
mod rows;
mod scenario;
mod store;
mod taking_back;
mod traffic;
mod world;

use std::time::Duration;

use crate::broken::Broken;
use world::World;

/// How one history ended.
#[derive(Debug, Default)]
pub struct Report {
    /// Which invariant was broken, and how.
    pub violation: Option<String>,
    pub counts: Counts,
    /// How long each acknowledged ending took, in virtual time.
    pub acknowledged_after: Vec<Duration>,
    /// Every step, if the history was replayed.
    pub trace: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub allowed: u64,
    pub denied: u64,
    pub unavailable: u64,
    /// Requests that were not answered locally.
    pub asked: u64,
    pub not_confirmed: u64,
    pub resets: u64,
    pub diverged: u64,
    pub issued: u64,
    pub refreshed: u64,
    /// Requests that were answered with other roles than the token carries.
    pub fresh_roles: u64,
    /// Of those that had no lease, how many were told the roles of then.
    pub asked_roles: u64,
    /// Calls that a former primary could not commit.
    pub hung: u64,
}

/// Every tenth history is free of faults, and every ending in it must be acknowledged.
pub fn is_calm(seed: u64) -> bool {
    seed.is_multiple_of(10)
}

/// The history of `seed`, with one rule broken or none.
pub fn run(seed: u64, broken: Option<Broken>) -> Report {
    let mut world = World::new(seed, broken);
    world.run();
    world.report()
}

/// As [`run`], and tells what happened.
pub fn replay(seed: u64, broken: Option<Broken>) -> Report {
    let mut world = World::new(seed, broken);
    world.keep_trace();
    world.run();
    world.report()
}

/// The first seed of `0..seeds` whose history shows that the rule is needed.
pub fn smallest_failing(broken: Broken, seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| run(seed, Some(broken)).violation.map(|violation| (seed, violation)))
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let Self {
            allowed,
            denied,
            unavailable,
            asked,
            not_confirmed,
            resets,
            diverged,
            issued,
            refreshed,
            fresh_roles,
            asked_roles,
            hung,
        } = other;
        Self {
            allowed: self.allowed + allowed,
            denied: self.denied + denied,
            unavailable: self.unavailable + unavailable,
            asked: self.asked + asked,
            not_confirmed: self.not_confirmed + not_confirmed,
            resets: self.resets + resets,
            diverged: self.diverged + diverged,
            issued: self.issued + issued,
            refreshed: self.refreshed + refreshed,
            fresh_roles: self.fresh_roles + fresh_roles,
            asked_roles: self.asked_roles + asked_roles,
            hung: self.hung + hung,
        }
    }
}
