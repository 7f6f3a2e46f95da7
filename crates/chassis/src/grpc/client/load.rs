//! How busy a replica is: calls in flight times a peak-sensitive moving average of its answer times.
//!
//! tower has this (`PeakEwma`) for services that are owned by one balancer behind a queue. Here calls from every
//! thread choose by themselves, so it is three atomics: two answers that come at the same moment may lose one
//! measurement, and nobody waits.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// After this long without news, 63 % of what was measured is forgotten.
const DECAY: Duration = Duration::from_secs(1);
/// Answers faster than this are all as good: among such replicas only calls in flight count, so that one hiccup of the
/// scheduler does not keep the load from a replica for a second. One that is really slower has more in flight anyway.
const FAST_NANOS: f64 = 20_000_000.0;

/// The load of one replica.
pub(super) struct Load {
    epoch: Instant,
    in_flight: AtomicU32,
    /// An `f64` in bits.
    average_nanos: AtomicU64,
    measured_at_nanos: AtomicU64,
}

impl Load {
    pub(super) fn new(epoch: Instant) -> Load {
        Load {
            epoch,
            in_flight: AtomicU32::new(0),
            average_nanos: AtomicU64::new(0),
            measured_at_nanos: AtomicU64::new(0),
        }
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A call has ended, one way or another, after `took`.
    pub(super) fn end(&self, took: Duration, now: Instant) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let took = took.as_secs_f64() * 1e9;
        let (average, age) = self.average(now);
        // A peak counts at once; what is better than before counts as much as it is fresh.
        let weight = (-age / DECAY.as_secs_f64()).exp();
        let next = if took > average { took } else { average * weight + took * (1.0 - weight) };
        self.average_nanos.store(next.to_bits(), Ordering::Relaxed);
        self.measured_at_nanos.store(self.nanos(now), Ordering::Relaxed);
    }

    /// What one more call would meet. Only comparisons mean anything.
    pub(super) fn cost(&self, now: Instant) -> f64 {
        let (average, age) = self.average(now);
        let faded = average * (-age / DECAY.as_secs_f64()).exp();
        faded.max(FAST_NANOS) * f64::from(self.in_flight.load(Ordering::Relaxed) + 1)
    }

    fn average(&self, now: Instant) -> (f64, f64) {
        let average = f64::from_bits(self.average_nanos.load(Ordering::Relaxed));
        let age = self.nanos(now).saturating_sub(self.measured_at_nanos.load(Ordering::Relaxed));
        (average, Duration::from_nanos(age).as_secs_f64())
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
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
            load.end(21 * MILLISECOND, Instant::now());
        }
        peaked.begin();
        peaked.end(900 * MILLISECOND, Instant::now());
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
        one.end(MILLISECOND, now);
        other.begin();
        other.end(15 * MILLISECOND, now);
        assert!((one.cost(now) - other.cost(now)).abs() < 1.0);
        one.begin();
        assert!(one.cost(now) > 1.9 * other.cost(now));
    }
}
