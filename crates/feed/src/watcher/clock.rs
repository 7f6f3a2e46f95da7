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
        let seen = self.believed(now.wall, now).max(self.believed(self.latest.0, now));
        self.latest = (self.log_time(now).map_or(seen, |log| seen.max(log)), now.moment);
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
        let latest = self.believed(self.latest.0, now);
        now.wall.max(latest).max(self.log_time(now).unwrap_or(now.wall))
    }

    /// What a clock said that was wrong for certain does not count once it has been put right.
    fn believed(&self, wall: Wall, now: Now) -> Wall {
        let log = self.log_time(now);
        log.filter(|log| wall > *log + Bounds::DEFAULT.clocks_apart).unwrap_or(wall)
    }

    /// What the log's clock says now, as far as it was heard.
    pub(super) fn log_time(&self, now: Now) -> Option<Wall> {
        self.log.map(|(wall, at)| wall + now.moment.since(at))
    }

    /// Memory forgets by the earlier clock, as credentials expire by the later one.
    pub(super) fn forgetting_time(&self, now: Now) -> Wall {
        now.wall.min(self.log_time(now).unwrap_or(now.wall))
    }
}
