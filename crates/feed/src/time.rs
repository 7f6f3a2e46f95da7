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
