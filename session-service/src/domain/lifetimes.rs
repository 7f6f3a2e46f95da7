//! How long a session lasts and how many a subject may have: the numbers of the configuration, and what follows from them.

use std::time::Duration;

use time::OffsetDateTime;

/// Times are kept in whole milliseconds; cutting them where they enter makes every store answer the same.
pub fn to_millisecond(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(at.nanosecond() / 1_000_000 * 1_000_000).unwrap_or(at)
}

/// What bounds a session in time.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Without activity for this long, a session is over.
    pub idle: Duration,
    /// Since its login, whatever the activity.
    pub absolute: Duration,
    /// How long a secret that was rotated away is still accepted.
    pub rotation_grace: Duration,
}

impl Lifetimes {
    /// Sessions last active at this moment or before it are over.
    pub fn idle_since(&self, now: OffsetDateTime) -> OffsetDateTime {
        now - self.idle
    }

    /// How often activity is written: what a crash may take from a session's idle time, and no more.
    pub fn activity_granularity(&self) -> Duration {
        self.idle / 20
    }
}

/// How many sessions a subject may have at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub most: u32,
    pub at_limit: AtLimit,
}

/// What a login beyond the limit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLimit {
    EndOldest,
    Refuse,
}
