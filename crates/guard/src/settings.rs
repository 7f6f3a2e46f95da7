//! What a guard is told when it is made.

use std::time::Duration;

use token::{Expect, RecipientKey};

#[derive(Debug)]
pub struct Settings {
    pub expect: Expect,
    /// For encrypted tokens, newest first; empty where none are expected.
    pub recipient_keys: Vec<RecipientKey>,
    /// About how many verified tokens are remembered. When that many are, and sweeping out the expired ones makes no
    /// room, further tokens are verified at every use: dearer, never wrong. Nobody is pushed out, so that a flood of
    /// fresh tokens cannot make everybody else's slow.
    pub capacity: usize,
    /// The issuer is asked for keys at most once in this time, however many unknown key ids come in, or twice in the time for
    /// which it lets them be kept if that is shorter, and 2 s or more. In that time after an answer, a key that was not in it
    /// does not exist.
    pub refetch_interval: Duration,
    pub fetch_timeout: Duration,
    /// Verifications at once, over all threads.
    pub max_concurrent: usize,
    /// Verifications that may wait for their turn, and callers that may wait for keys; one more is turned away.
    pub max_waiting: usize,
}

impl Settings {
    /// Everything but the expectation has a default.
    pub const fn new(expect: Expect) -> Self {
        Self {
            expect,
            recipient_keys: Vec::new(),
            capacity: 100_000,
            refetch_interval: Duration::from_secs(5),
            fetch_timeout: Duration::from_secs(2),
            max_concurrent: 16,
            max_waiting: 1_024,
        }
    }
}
