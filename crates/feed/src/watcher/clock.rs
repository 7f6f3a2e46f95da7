//! The wall clock by which a guard judges expiry: one that never runs backwards in a process, and that is no further from
//! the log's than the deployment allows (rule W8).

use crate::{
    issuer::Bounds,
    time::{Moment, Now, Wall},
};

#[derive(Debug)]
pub(super) struct JudgingClock {
    /// The latest judging time there was, and when.
    latest: (Wall, Moment),
    log: Option<(Wall, Moment)>,
    apart: bool,
}

impl JudgingClock {
    pub(super) fn new(now: Now) -> Self {
        Self { latest: (now.wall, now.moment), log: None, apart: false }
    }

    pub(super) fn observe(&mut self, now: Now) {
        self.latest = (self.judging_time(now), now.moment);
    }

    /// Some if it changed whether the clocks are too far apart.
    pub(super) fn log_said(&mut self, log_time: Wall, now: Now) -> Option<bool> {
        let advanced = self.log.is_none_or(|(wall, at)| log_time > wall + now.moment.since(at));
        if advanced {
            self.log = Some((log_time, now.moment));
        }
        let apart = now.wall.apart(log_time) > Bounds::DEFAULT.clocks_apart;
        (std::mem::replace(&mut self.apart, apart) != apart).then_some(apart)
    }

    pub(super) fn judging_time(&self, now: Now) -> Wall {
        let by_log = self.log.map(|(wall, at)| wall + now.moment.since(at));
        now.wall.max(self.latest.0).max(by_log.unwrap_or(now.wall))
    }

    /// Memory forgets by the earlier clock, as credentials expire by the later one.
    pub(super) fn forgetting_time(&self, now: Now) -> Wall {
        let by_log = self.log.map(|(wall, at)| wall + now.moment.since(at));
        now.wall.min(by_log.unwrap_or(now.wall))
    }
}
