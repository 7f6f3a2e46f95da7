//! The machines at work: each is owned by one task, which carries out what the machine asks for and tells it what came of it.
//!
//! [`serving`] runs a [`crate::Replica`], [`watching`] a [`crate::Watcher`]. Neither spawns anything: whatever is under way
//! is part of its one future, and ends when that is dropped. They belong on a thread of their own, so that a process that is
//! busy with requests still acknowledges in time.

pub mod serving;
pub mod watching;

use std::{future::pending, sync::Arc, time::Duration};

use crate::time::{Moment, Now};

/// Reads both clocks. The monotonic one must go on while the machine is suspended (`CLOCK_BOOTTIME`).
pub trait ReadClock: Send + Sync {
    fn now(&self) -> Now;

    /// The monotonic one alone, which is asked with each request.
    fn moment(&self) -> Moment {
        self.now().moment
    }
}

impl<F: Fn() -> Now + Send + Sync> ReadClock for F {
    fn now(&self) -> Now {
        self()
    }
}

pub type Clock = Arc<dyn ReadClock>;

/// A timer cannot be had for more than this at once; waking early costs nothing.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Until `deadline`, by a clock that said `now` a moment ago.
async fn sleep_until(deadline: Option<Moment>, now: Moment) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(now).min(LONGEST_SLEEP)).await,
        None => pending().await,
    }
}
