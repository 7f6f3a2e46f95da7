//! Rules I1 and I2: what whoever issues a credential owes, so that an ending may leave the memory one day and a credential
//! issued while its ending was under way is void all the same.

use std::time::Duration;

use crate::time::Wall;

/// How far from the truth the clocks of a deployment may be, where credentials are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Past its expiry a credential may still be believed for this long.
    pub leeway: Duration,
    /// By how much wall clocks may differ. A guard whose clock is further from the log's has no lease.
    pub clocks_apart: Duration,
}

impl Bounds {
    pub const DEFAULT: Self =
        Self { leeway: Duration::from_secs(60), clocks_apart: Duration::from_secs(10 * 60) };

    /// Until when an ending must be remembered that was committed at `committed`, if no credential that it concerns
    /// lives longer than `longest_life`.
    pub fn until(self, committed: Wall, longest_life: Duration) -> Wall {
        committed + longest_life + self.leeway + self.clocks_apart
    }
}

/// The moment from which the life of a credential counts.
///
/// Begun *before* the first read that authorises the issue: between the read and the signature the process may be
/// suspended for longer than any ending is remembered, and what it signs then must already have expired.
#[derive(Clone, Copy, Debug)]
pub struct Issue {
    began: Wall,
}

impl Issue {
    pub fn begin(wall: Wall) -> Self {
        Self { began: wall }
    }

    pub fn expires_at(self, life: Duration) -> Wall {
        self.began + life
    }
}
