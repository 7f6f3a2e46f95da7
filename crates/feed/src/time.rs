//! Time as the protocol sees it. Every function here takes the time it needs: the crate reads no clock.

use std::{ops::Add, time::Duration};

/// By how much two monotonic clocks may drift apart: one part in a hundred.
const DRIFT: u32 = 100;
/// What is added to a lease that is waited out, for clocks that tick in steps.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// A reading of this machine's monotonic clock, which must also run while the machine is suspended (`CLOCK_BOOTTIME`).
/// Two readings compare only within one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    pub const fn from_origin(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(length))
    }
}

/// Wall clock time in milliseconds since 1970. It decides ages and expiry, never a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(u64);

impl Wall {
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub const fn unix_millis(self) -> u64 {
        self.0
    }

    pub fn apart(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }
}

impl Add<Duration> for Wall {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The log's wall clock, as a replica knows it from a beat. All replicas of a service can go by it, whatever their own say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogClock {
    said: Wall,
    /// By how many milliseconds it is ahead of this machine's.
    ahead: i64,
}

impl LogClock {
    /// From what the log said in a call that was made at `asked` and answered at `answered`, by this machine's clock. What it said
    /// may be of any time between: as long as both clocks may be right, they are taken to agree.
    pub(crate) fn read(said: Wall, asked: Wall, answered: Wall) -> Self {
        let nearest = if said < asked { asked } else { said.min(answered.max(asked)) };
        Self { said, ahead: said.0.cast_signed().saturating_sub(nearest.0.cast_signed()) }
    }

    /// What it said at the last beat.
    pub fn said(&self) -> Wall {
        self.said
    }

    /// What it says when this machine's says `own`. Never less than it has said: a clock that is turned back is not followed.
    pub fn at(&self, own: Wall) -> Wall {
        Wall(own.0.saturating_add_signed(self.ahead)).max(self.said)
    }
}

/// Both clocks, read together after the event that they accompany arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub moment: Moment,
    pub wall: Wall,
}

/// For how long the grantor of a lease must think it valid: by the grantor's clock, which may be the faster one.
pub(crate) fn at_most(lease: Duration) -> Duration {
    lease + lease / DRIFT
}

/// D: how long an ender waits until every lease that a member could have granted before is over.
pub(crate) fn waited_out(lease: Duration) -> Duration {
    at_most(lease) + CLOCK_STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logs_clock_is_this_machines_unless_both_cannot_be_right() {
        for (said, asked, answered, at_5000) in [
            (1_000, 1_000, 1_000, 5_000),
            (1_005, 1_000, 1_010, 5_000),
            // Turned on by an hour, or back, while the log was asked.
            (1_000, 1_000, 3_601_000, 5_000),
            (3_601_000, 3_601_000, 1_000, 3_601_000),
            // Ahead of this machine's by 600 and behind it by 300.
            (1_610, 1_000, 1_010, 5_600),
            (700, 1_000, 1_010, 4_700),
        ] {
            let [said, asked, answered] = [said, asked, answered].map(Wall::from_unix_millis);
            let clock = LogClock::read(said, asked, answered);
            assert_eq!(clock.at(Wall::from_unix_millis(5_000)), Wall::from_unix_millis(at_5000), "{clock:?}");
        }
    }

    #[test]
    fn the_logs_clock_never_says_less_than_it_has_said() {
        let clock = LogClock::read(Wall(10_000), Wall(10_000), Wall(10_000));
        assert_eq!([9_000, 0, 10_001].map(|own| clock.at(Wall(own)).0), [10_000, 10_000, 10_001]);
        let behind = LogClock::read(Wall(10_000), Wall(0), Wall(0));
        assert_eq!(behind.at(Wall(1)).0, 10_001);
    }
}
