//! How dear a replica is: calls in flight times a peak-sensitive moving average of its answer times, and many times that where
//! most of its answers are that it is unavailable.
//!
//! tower has the first (`PeakEwma`) for services that are owned by one balancer behind a queue. Here calls from every
//! thread choose by themselves, so it is four atomics: two answers that come at the same moment may lose one
//! measurement, and nobody waits.
//!
//! The second is for one that is cut off from its store alone. It says so at once, so by answer times and calls in flight it
//! would be the least busy of all, and draw the calls of everybody. It goes by the share of such answers, since what all
//! replicas need may be away for some methods only: then all answer so now and then, and the calls stay spread. It is not left
//! out: where all are cut off they are equally dear.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// After this long without news, 63 % of what was measured is forgotten.
const DECAY: Duration = Duration::from_secs(1);
/// Answers faster than this are all as good: among such replicas only calls in flight count, so that one hiccup of the
/// scheduler does not keep the load from a replica for a second. One that is really slower has more in flight anyway.
const FAST_NANOS: f64 = 20_000_000.0;
/// What one answer more counts for in the share of those that say unavailable: six in a row make it most of them.
const WEIGHT: f64 = 1.0 / 8.0;
/// What it counts for at most, be it the only one for long: less than half, so that it takes two.
const HEAVIEST: f64 = 0.4;
/// After this long without an answer, 63 % of that share is forgotten: all were such, and after 7 s one call tries again.
const SHARE_DECAY: Duration = Duration::from_secs(10);
/// By how much such a replica is dearer: as many calls may be in flight at another before it gets one.
const UNAVAILABLE: f64 = 5_000.0;

/// How a call ended, for its replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Answered,
    /// Answered, that it is unavailable.
    Unavailable,
    Unanswered,
}

/// The load of one replica.
pub(super) struct Load {
    epoch: Instant,
    in_flight: AtomicU32,
    /// An `f64` in bits, as is the next.
    average_nanos: AtomicU64,
    /// Of the last answers, how many said that it is unavailable.
    unavailable_share: AtomicU64,
    measured_at_nanos: AtomicU64,
}

impl Load {
    pub(super) fn new(epoch: Instant) -> Load {
        Load {
            epoch,
            in_flight: AtomicU32::new(0),
            average_nanos: AtomicU64::new(0),
            unavailable_share: AtomicU64::new(0),
            measured_at_nanos: AtomicU64::new(0),
        }
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A call has ended, one way or another, after `took`.
    pub(super) fn end(&self, took: Duration, ended: Ended, now: Instant) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let took = took.as_secs_f64() * 1e9;
        let (average, left) = (read(&self.average_nanos), self.left(DECAY, now));
        // A peak counts at once; what is better than before counts as much as it is fresh.
        let next = if took > average { took } else { average * left + took * (1.0 - left) };
        let left = self.left(SHARE_DECAY, now);
        let (share, weight) = (read(&self.unavailable_share) * left, (1.0 - left).clamp(WEIGHT, HEAVIEST));
        let share = match ended {
            Ended::Unavailable => share + (1.0 - share) * weight,
            Ended::Answered => share - share * weight,
            Ended::Unanswered => share,
        };
        self.average_nanos.store(next.to_bits(), Ordering::Relaxed);
        self.unavailable_share.store(share.to_bits(), Ordering::Relaxed);
        self.measured_at_nanos.store(self.nanos(now), Ordering::Relaxed);
    }

    /// What one more call would meet. Only comparisons mean anything.
    pub(super) fn cost(&self, now: Instant) -> f64 {
        let times = if self.is_unavailable(now) { UNAVAILABLE } else { 1.0 };
        (read(&self.average_nanos) * self.left(DECAY, now)).max(FAST_NANOS)
            * f64::from(self.in_flight.load(Ordering::Relaxed) + 1)
            * times
    }

    /// Whether it lately answered more often than not that it is unavailable.
    pub(super) fn is_unavailable(&self, now: Instant) -> bool {
        let share = read(&self.unavailable_share);
        share > 0.5 && share * self.left(SHARE_DECAY, now) > 0.5
    }

    /// What is left of what was measured: 1 is all of it.
    fn left(&self, decay: Duration, now: Instant) -> f64 {
        let age = self.nanos(now).saturating_sub(self.measured_at_nanos.load(Ordering::Relaxed));
        (-Duration::from_nanos(age).as_secs_f64() / decay.as_secs_f64()).exp()
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

fn read(bits: &AtomicU64) -> f64 {
    f64::from_bits(bits.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_peak_counts_at_once_and_fades() {
        let epoch = Instant::now();
        let (calm, peaked) = (Load::new(epoch), Load::new(epoch));
        for load in [&calm, &peaked] {
            load.begin();
            load.end(21 * MILLISECOND, Ended::Answered, Instant::now());
        }
        peaked.begin();
        peaked.end(900 * MILLISECOND, Ended::Answered, Instant::now());
        let now = Instant::now();
        assert!(peaked.cost(now) > 30.0 * calm.cost(now));
        tokio::time::advance(Duration::from_secs(10)).await;
        let now = Instant::now();
        assert!((peaked.cost(now) - calm.cost(now)).abs() < 1.0, "both are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn among_fast_replicas_only_calls_in_flight_count() {
        let now = Instant::now();
        let (one, other) = (Load::new(now), Load::new(now));
        one.begin();
        one.end(MILLISECOND, Ended::Answered, now);
        other.begin();
        other.end(15 * MILLISECOND, Ended::Answered, now);
        assert!((one.cost(now) - other.cost(now)).abs() < 1.0);
        one.begin();
        assert!(one.cost(now) > 1.9 * other.cost(now));
    }

    fn ended(load: &Load, ended: Ended) {
        load.begin();
        load.end(MILLISECOND, ended, Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_unavailable_is_dear_until_it_is_long_ago_or_good_answers_follow() {
        let epoch = Instant::now();
        let (well, cut_off) = (Load::new(epoch), Load::new(epoch));
        (0..5).for_each(|_| ended(&cut_off, Ended::Unavailable));
        let now = Instant::now();
        assert!(!cut_off.is_unavailable(now), "it may have been a moment");
        ended(&cut_off, Ended::Unavailable);
        (0..1_000).for_each(|_| well.begin());
        assert!(cut_off.is_unavailable(now) && cut_off.cost(now) > well.cost(now), "whatever is in flight");
        (0..1_000).for_each(|_| well.end(MILLISECOND, Ended::Answered, now));

        let other = Load::new(epoch);
        (0..50).for_each(|_| ended(&other, Ended::Unavailable));
        assert!((other.cost(now) - cut_off.cost(now)).abs() < 1.0, "where all are, all are equally dear");
        ended(&other, Ended::Unanswered);
        assert!(other.is_unavailable(now));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(other.is_unavailable(Instant::now()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!other.is_unavailable(Instant::now()), "it is tried again");
        ended(&other, Ended::Unavailable);
        assert!(other.is_unavailable(Instant::now()), "once");
        (0..6).for_each(|_| ended(&other, Ended::Answered));
        let now = Instant::now();
        assert!(!other.is_unavailable(now) && (other.cost(now) - well.cost(now)).abs() < 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn where_calls_are_rare_one_answer_decides_nothing_and_two_do() {
        let load = Load::new(Instant::now());
        for rest in [0, 1, 7, 60] {
            tokio::time::advance(Duration::from_secs(rest)).await;
            ended(&load, Ended::Unavailable);
            assert!(!load.is_unavailable(Instant::now()), "after {rest} s");
            (0..20).for_each(|_| ended(&load, Ended::Answered));
        }
        for _ in 0..2 {
            tokio::time::advance(Duration::from_secs(6)).await;
            ended(&load, Ended::Unavailable);
        }
        assert!(load.is_unavailable(Instant::now()));
        tokio::time::advance(Duration::from_secs(6)).await;
        (0..2).for_each(|_| ended(&load, Ended::Answered));
        assert!(!load.is_unavailable(Instant::now()));
    }

    /// As every auth-service does for one method while policy-service is away.
    #[tokio::test(start_paused = true)]
    async fn who_is_unavailable_for_the_lesser_part_costs_no_more() {
        let load = Load::new(Instant::now());
        for call in 0..100 {
            ended(&load, if call % 3 == 0 { Ended::Unavailable } else { Ended::Answered });
            assert!(!load.is_unavailable(Instant::now()), "{call}");
        }
    }
}
