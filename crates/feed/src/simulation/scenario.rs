//! What one history is about, drawn from its seed: settings that differ, faults, endings, requests.

use std::time::Duration;

use fastrand::Rng;

use super::{
    faults::Fault,
    issuing::Step,
    machine::Instant,
    network::{MILLI, Place, millis},
    taking_back::{Party, Taking},
    world::{GUARDS, REPLICAS, Work, World},
};
use crate::{
    broken::Broken,
    change::{Change, Target, What},
    watcher::{self, Remember},
};

/// Things that end, and that requests present. Half of them are sessions, which guards fetch and cache.
pub(super) const KEYS: usize = 14;

const LONGEST_LEASE: Duration = Duration::from_secs(4);

#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) calm: bool,
    /// Of each replica at first.
    pub(super) leases: Vec<Duration>,
    /// When the replicas are given another length, and which.
    pub(super) roll_outs: Vec<(Instant, Duration)>,
    /// What each guard expects before its first grant.
    pub(super) expected_lease: Duration,
    /// When a standby takes the place of the log's primary.
    pub(super) promoted: Option<Instant>,
    pub(super) remember: Remember,
    pub(super) log_timeout: u64,
    pub(super) issues: bool,
    pub(super) loses_tail: bool,
    pub(super) trims: bool,
}

impl Scenario {
    pub(super) fn draw(seed: u64, broken: Option<Broken>, random: &mut Rng) -> Self {
        let calm = super::is_calm(seed);
        let mut leases = vec![Duration::from_secs(2); REPLICAS];
        if random.f64() < 0.4
            && let Some(lease) = leases.get_mut(random.usize(0..REPLICAS))
        {
            *lease = Duration::from_secs(if random.bool() { 1 } else { 4 });
        }
        let loses_tail = !calm && random.f64() < 0.15;
        // Apart, so that a history without it is what it was.
        let mut apart = Rng::with_seed(!seed);
        let roll_outs = if !calm && apart.f64() < 0.2 {
            (0..apart.usize(1..=2)).map(|_| roll_out(&mut apart)).collect()
        } else {
            Vec::new()
        };
        let promoted = (!calm && apart.f64() < 0.2).then(|| apart.u64(2_000..11_000) * MILLI);
        Self {
            calm,
            leases,
            roll_outs,
            promoted,
            expected_lease: Duration::from_secs(*random.choice(&[1, 2, 2, 4]).unwrap_or(&2)),
            remember: if random.f64() < 0.7 { Remember::AllButSessions } else { Remember::Everything },
            log_timeout: if random.f64() < 0.7 { 500 * MILLI } else { 1500 * MILLI },
            // A log that loses rows loses generations too, and then nothing can be said of what is issued.
            issues: !loses_tail && random.f64() < 0.3,
            loses_tail,
            // With a sequence that has gaps every position may be one that was trimmed. And a replica that starts once a change of
            // roles was trimmed has not heard of it: a former primary must be out of reach by then.
            trims: random.f64() < 0.15 && broken != Some(Broken::BareSequence) && promoted.is_none(),
        }
    }

    /// For how long after a commit an issuer that reaches a former primary may begin to issue with the roles of before: as long as
    /// its right lasts. Outside of here the bounds are many leases long.
    pub(super) fn unheard(&self) -> Duration {
        if self.promoted.is_some() { LONGEST_LEASE } else { Duration::ZERO }
    }
}

fn roll_out(random: &mut Rng) -> (Instant, Duration) {
    let lease = *random.choice(&[1, 2, 4]).unwrap_or(&2);
    (random.u64(1_000..10_000) * MILLI, Duration::from_secs(lease))
}

impl World {
    pub(super) fn set_up(&mut self) {
        for at in 0..REPLICAS {
            self.at(0, Place::Replica(at), Work::Replica(crate::replica::Event::Started));
        }
        for at in 0..GUARDS {
            let start = self.random.u64(0..50 * MILLI);
            self.at(start, Place::Guard(at), Work::Guard(watcher::Event::Started));
        }
        if !self.scenario.calm {
            for _ in 0..*self.random.choice(&[2, 5, 12]).unwrap_or(&2) {
                let at = self.between(100.0, 12_000.0);
                let fault = self.draw_fault();
                self.at(at, Place::World, Work::Fault(fault));
            }
            if self.scenario.loses_tail {
                let at = self.between(2_000.0, 12_000.0);
                self.at(at, Place::World, Work::Fault(Fault::LoseTail));
            }
        }
        for (at, lease) in self.scenario.roll_outs.clone() {
            self.at(at, Place::World, Work::Fault(Fault::RollOut { lease }));
        }
        if let Some(at) = self.scenario.promoted {
            self.at(at, Place::World, Work::Fault(Fault::Promote));
        }
        if self.scenario.trims {
            for _ in 0..20 {
                let at = self.between(500.0, 15_000.0);
                self.at(at, Place::World, Work::Fault(Fault::AppendShortLived));
                let at = self.between(500.0, 15_000.0);
                self.at(at, Place::World, Work::Fault(Fault::Trim));
            }
        }
        for key in 0..KEYS {
            self.set_up_key(key);
        }
        if self.scenario.issues {
            self.set_up_issuing();
        }
    }

    fn set_up_key(&mut self, key: usize) {
        let end = self.between(800.0, 13_000.0);
        let times = *self.random.choice(&[1, 1, 2]).unwrap_or(&1);
        for again in 0..times {
            let at = end + again * self.between(0.0, 2500.0);
            let replica = self.random.usize(0..REPLICAS);
            self.at(at, Place::World, Work::Fault(Fault::End { replica, key }));
        }
        if !self.scenario.calm {
            // What is needed for some broken rules to show is rare unless it is aimed at an ending.
            match self.random.f64() {
                kind if kind < 0.05 => {
                    let fault = Fault::StartAround { replica: self.random.usize(0..REPLICAS), ending: end };
                    self.at(end.saturating_sub(60 * MILLI), Place::World, Work::Fault(fault));
                }
                kind if kind < 0.08 => {
                    let fault = Fault::SlowAppend { newcomer: self.random.usize(0..REPLICAS) };
                    self.at(end, Place::World, Work::Fault(fault));
                }
                _ => {}
            }
        }
        for guard in 0..GUARDS {
            for _ in 0..14 {
                let at = end as i64 + (self.gauss() * 700.0) as i64 * MILLI as i64;
                let at = u64::try_from(at).unwrap_or(0).max(60 * MILLI);
                self.request_at(at, guard, key);
            }
        }
    }

    fn set_up_issuing(&mut self) {
        for subject in 0..2 {
            let raised = self.between(3_000.0, 11_000.0);
            // Aimed at what a former primary still says of it.
            let changed = match self.scenario.promoted {
                Some(promoted) => promoted + self.between(0.0, 3_000.0),
                None => self.between(3_000.0, 11_000.0),
            };
            self.issue_at(raised, Step::TakeBack(Taking::Raise(Party::Subject(subject))));
            self.issue_at(changed, Step::TakeBack(Taking::Roles(Some(subject))));
            for login in 0..8 {
                let around = if login % 2 == 0 { raised } else { changed };
                let at = around as i64 + (self.gauss() * 400.0) as i64 * MILLI as i64;
                self.issue_at(u64::try_from(at).unwrap_or(0), Step::Login { subject });
            }
        }
        for taking in [Taking::Raise(Party::Client), Taking::Roles(None)] {
            if self.random.bool() {
                let at = self.between(3_000.0, 11_000.0);
                self.issue_at(at, Step::TakeBack(taking));
            }
        }
    }

    /// Refreshes of a login that was just begun, and its end, once or twice.
    pub(super) fn set_up_family(&mut self, family: usize) {
        for _ in 0..3 {
            let at = self.now + self.between(0.0, 5_000.0);
            self.issue_at(at, Step::Refresh { family });
        }
        let end = self.now + self.between(0.0, 2_500.0);
        for again in 0..*self.random.choice(&[0, 0, 1, 2]).unwrap_or(&0) {
            let at = end + again * self.between(0.0, 300.0);
            self.issue_at(at, Step::TakeBack(Taking::EndFamily(family)));
        }
    }

    /// At any replica, whichever life it is in by then.
    fn issue_at(&mut self, at: u64, step: Step) {
        let replica = self.random.usize(0..REPLICAS);
        self.at(at, Place::World, Work::Fault(Fault::Issue { replica, step }));
    }

    /// Out of the world, so that the request begins when the guard runs.
    pub(super) fn request_at(&mut self, at: u64, guard: usize, key: usize) {
        self.at(at, Place::World, Work::Fault(Fault::Request { guard, key }));
    }

    pub(super) fn between(&mut self, low: f64, high: f64) -> u64 {
        millis(low + self.random.f64() * (high - low))
    }

    /// Mean 0, deviation 1, near enough: the sum of twelve.
    fn gauss(&mut self) -> f64 {
        (0..12).map(|_| self.random.f64()).sum::<f64>() - 6.0
    }
}

/// What ends `key`. Everything that the memory knows is ended somewhere.
pub(super) fn change_of(key: usize, until: crate::time::Wall) -> Change {
    let what = what_of(key);
    let min = (what == What::Subject).then_some(2);
    Change { target: Target::new(what, name_of(key)), min, except: None, until }
}

/// Drawn from a table: every request needs one.
pub(super) fn name_of(key: usize) -> &'static str {
    const NAMES: [&str; KEYS] =
        ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9", "k10", "k11", "k12", "k13"];
    NAMES.get(key).copied().unwrap_or_default()
}

pub(super) fn what_of(key: usize) -> What {
    match key % 8 {
        0 => What::Token,
        2 => What::Family,
        4 => What::Subject,
        6 => What::Key,
        _ => What::Session,
    }
}
