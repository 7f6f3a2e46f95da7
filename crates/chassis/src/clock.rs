//! The time, as a value that is handed out.
//!
//! Wall time judges what is written down (expiries in tokens and rows). Boot time measures how long ago something
//! was: it never jumps, and unlike `std::time::Instant` it goes on counting while the machine is suspended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

/// Where a process reads the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Wall time, UTC.
    fn now(&self) -> OffsetDateTime;
    /// Time since boot, suspension included. Only differences mean anything.
    fn boottime(&self) -> Duration;
}

/// How a clock is passed around.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The machine's clock, ready to be passed around.
    pub fn shared() -> SharedClock {
        Arc::new(SystemClock)
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one home of wall time")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn boottime(&self) -> Duration {
        let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(u64::try_from(at.tv_sec).unwrap_or(0), u32::try_from(at.tv_nsec).unwrap_or(0))
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct TestClock {
    hands: Mutex<Hands>,
}

#[derive(Debug, Clone, Copy)]
struct Hands {
    wall: OffsetDateTime,
    boot: Duration,
}

impl TestClock {
    /// A clock that shows `at`.
    pub fn new(at: OffsetDateTime) -> TestClock {
        TestClock { hands: Mutex::new(Hands { wall: at, boot: Duration::from_secs(1_000) }) }
    }

    /// Both times move forward by `by`.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
        hands.wall += by;
        hands.boot += by;
    }

    /// Wall time jumps to `at`, as when an administrator sets the clock; boot time does not notice.
    pub fn set(&self, at: OffsetDateTime) {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner).wall = at;
    }
}

impl Clock for TestClock {
    fn now(&self) -> OffsetDateTime {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner).wall
    }

    fn boottime(&self) -> Duration {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner).boot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_moves_both_times_and_setting_only_the_wall() {
        let clock = TestClock::new(OffsetDateTime::UNIX_EPOCH);
        let boot = clock.boottime();
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), OffsetDateTime::UNIX_EPOCH + Duration::from_secs(5));
        assert_eq!(clock.boottime() - boot, Duration::from_secs(5));

        clock.set(OffsetDateTime::UNIX_EPOCH);
        assert_eq!(clock.now(), OffsetDateTime::UNIX_EPOCH);
        assert_eq!(clock.boottime() - boot, Duration::from_secs(5), "a set clock never moves boot time");
    }

    #[test]
    fn the_system_clock_reads_the_kernel() {
        let before = SystemClock.boottime();
        assert!(before > Duration::ZERO);
        assert!(SystemClock.boottime() >= before);
        assert!(SystemClock.now().year() >= 2024);
    }
}
