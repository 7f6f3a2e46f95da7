//! Whether an endpoint of an application is to be used, as far as the process knows.
//!
//! Two things are known: what its answers say (passive: one that cannot be reached, or that several times in a row
//! gave no answer, is left out for a while, longer each time) and what a probe says (active, where the rule has one).
//! That the last one left is never left out is seen to by whoever asks ([`super::Backend`]).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many requests in a row without an answer.
const FAILURES: u32 = 5;
/// The first time; each further one doubles it.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// So many probes in a row.
const PROBES: u32 = 2;

/// One endpoint. Read with each request, written when something changes.
#[derive(Debug)]
pub struct Vitals {
    /// `host:port`.
    pub address: String,
    out: AtomicBool,
    down: AtomicBool,
    /// In a row.
    failures: AtomicU32,
    failed_probes: AtomicU32,
    absence: Mutex<Absence>,
}

#[derive(Debug, Default)]
struct Absence {
    until: Option<Instant>,
    /// Since it last answered.
    times: u32,
}

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// There was no connection.
    Unreachable,
    /// It broke off, or said nothing in time.
    Unanswered,
}

impl Vitals {
    pub fn new(address: String) -> Vitals {
        Vitals {
            address,
            out: AtomicBool::new(false),
            down: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            failed_probes: AtomicU32::new(0),
            absence: Mutex::default(),
        }
    }

    pub fn is_well(&self) -> bool {
        !self.out.load(Ordering::Relaxed) && !self.down.load(Ordering::Relaxed)
    }

    /// It answered.
    pub fn answered(&self) {
        // Mostly there is nothing to write, and so no other thread's cache is disturbed.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.absence().times = 0;
        }
    }

    /// It did not. For how long it is left out, if it is; `dispensable` is whether others are left.
    pub(super) fn failed(
        &self,
        how: Failed,
        now: Instant,
        dispensable: impl FnOnce() -> bool,
    ) -> Option<Duration> {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if (how == Failed::Unanswered && failures < FAILURES) || !dispensable() {
            return None;
        }
        let mut absence = self.absence();
        if absence.until.is_some() {
            return None;
        }
        let time = FIRST.saturating_mul(1 << absence.times.min(5)).min(LONGEST);
        absence.times = absence.times.saturating_add(1);
        absence.until = Some(now + time);
        self.out.store(true, Ordering::Relaxed);
        Some(time)
    }

    /// Ends an absence whose time is over. It is on probation: one more failure, and it is left out again.
    pub(super) fn returned(&self, now: Instant) -> bool {
        if !self.out.load(Ordering::Relaxed) {
            return false;
        }
        let mut absence = self.absence();
        let over = absence.until.is_some_and(|until| now >= until);
        if over {
            absence.until = None;
            self.failures.store(FAILURES - 1, Ordering::Relaxed);
            self.out.store(false, Ordering::Relaxed);
        }
        over
    }

    /// What a probe found. True if that changes whether it is to be used.
    pub(super) fn probed(&self, well: bool) -> bool {
        if well {
            self.failed_probes.store(0, Ordering::Relaxed);
            return self.down.swap(false, Ordering::Relaxed);
        }
        let failed = self.failed_probes.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        failed >= PROBES && !self.down.swap(true, Ordering::Relaxed)
    }

    fn absence(&self) -> MutexGuard<'_, Absence> {
        self.absence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn absences_grow_until_it_answers_again() {
        let vitals = Vitals::new("a:1".to_owned());
        let start = Instant::now();
        let mut now = start;
        for (how, expected) in [1, 2, 4, 8, 16, 30, 30].into_iter().enumerate() {
            let how = if how == 0 { Failed::Unreachable } else { Failed::Unanswered };
            let time = vitals.failed(how, now, || true).unwrap();
            assert_eq!(time, Duration::from_secs(expected));
            assert!(!vitals.is_well());
            assert_eq!(vitals.failed(Failed::Unreachable, now, || true), None, "it is out already");
            assert!(!vitals.returned(now + time - Duration::from_millis(1)));
            now += time;
            assert!(vitals.returned(now) && vitals.is_well());
        }
        vitals.answered();
        for _ in 1..FAILURES {
            assert_eq!(vitals.failed(Failed::Unanswered, now, || true), None);
        }
        assert_eq!(vitals.failed(Failed::Unanswered, now, || true), Some(FIRST));
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_between_failures_forgives_them() {
        let vitals = Vitals::new("a:1".to_owned());
        for _ in 0..3 * FAILURES {
            vitals.answered();
            assert_eq!(vitals.failed(Failed::Unanswered, Instant::now(), || true), None);
        }
        assert!(vitals.is_well());
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_one_stays() {
        let vitals = Vitals::new("a:1".to_owned());
        assert_eq!(vitals.failed(Failed::Unreachable, Instant::now(), || false), None);
        assert!(vitals.is_well());
    }

    #[test]
    fn probes_take_it_out_and_bring_it_back() {
        let vitals = Vitals::new("a:1".to_owned());
        assert!(!vitals.probed(false) && vitals.is_well());
        assert!(!vitals.probed(true) && !vitals.probed(false) && vitals.is_well(), "not in a row");
        assert!(vitals.probed(false) && !vitals.is_well());
        assert!(!vitals.probed(false), "no change");
        assert!(vitals.probed(true) && vitals.is_well());
    }
}
