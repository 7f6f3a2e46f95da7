//! One process on one machine: its clocks, and whether it runs.

use std::time::Duration;

use fastrand::Rng;

use crate::time::{Moment, Now, Wall};

/// Virtual time in nanoseconds.
pub(super) type Instant = u64;

/// What the wall clocks show when a history begins.
const EPOCH_MILLIS: u64 = 1_800_000_000_000;
/// Two clocks must not differ by more than one in a hundred: each is off by less than half of that.
const MAX_DRIFT: f64 = 0.0049;
/// By how much a wall clock may be ahead; on average they are half of it ahead.
pub(super) const WALL_SPREAD_MILLIS: u64 = 400;

#[derive(Debug)]
pub(super) struct Machine {
    rate: f64,
    origin: Duration,
    wall_ahead: u64,
    /// How often it was started. What was meant for a former life reaches nobody.
    pub(super) life: u32,
    pub(super) alive: bool,
    pub(super) paused_until: Instant,
    /// Until when, and for how long, each event keeps it from the next.
    pub(super) slow: (Instant, Instant),
    /// For how long its clock stood still: only where the assumption about clocks is broken.
    pub(super) frozen: Instant,
}

impl Machine {
    pub(super) fn new(random: &mut Rng) -> Self {
        Self {
            rate: 1.0 + (random.f64() * 2.0 - 1.0) * MAX_DRIFT,
            origin: Duration::from_secs(random.u64(1..1_000_000)),
            wall_ahead: random.u64(0..WALL_SPREAD_MILLIS),
            life: 0,
            alive: true,
            paused_until: 0,
            slow: (0, 0),
            frozen: 0,
        }
    }

    pub(super) fn now(&self, at: Instant) -> Now {
        let running = at.saturating_sub(self.frozen);
        let moment =
            Moment::from_origin(self.origin + Duration::from_nanos((running as f64 * self.rate) as u64));
        Now { moment, wall: Wall::from_unix_millis(EPOCH_MILLIS + at / 1_000_000 + self.wall_ahead) }
    }

    /// It has dealt with an event.
    pub(super) fn worked(&mut self, at: Instant) {
        let (until, each) = self.slow;
        if at < until {
            self.paused_until = self.paused_until.max(at + each);
        }
    }

    /// Somebody sets it, within what the clocks of a deployment may differ by.
    pub(super) fn set_wall_clock(&mut self, random: &mut Rng) {
        self.wall_ahead = random.u64(0..WALL_SPREAD_MILLIS);
    }

    /// When this machine's clock shows `moment`, at the latest.
    pub(super) fn when(&self, moment: Moment) -> Instant {
        let running = moment.since(Moment::from_origin(self.origin)).as_nanos() as f64 / self.rate;
        running as u64 + 2 + self.frozen
    }
}
