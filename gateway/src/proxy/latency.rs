//! How long an endpoint takes to answer, as one number that forgets: a peak-sensitive moving average (Finagle's "peak
//! EWMA"). A slower answer is believed at once, quicker ones only with time, so that an endpoint that begins to stall
//! loses its requests before they pile up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// After so long an old value counts for a third. Short: one slow answer must not starve an endpoint for long.
const MEMORY: Duration = Duration::from_secs(2);
/// Quicker than this all are the same (what differs is chance), and one that was never asked is as quick.
const FLOOR: f64 = 0.001;

/// Written by one thread.
#[derive(Debug)]
pub(super) struct Latency {
    /// Seconds, as bits.
    estimate: AtomicU64,
    begun: Instant,
    /// Nanoseconds from `begun`.
    measured: AtomicU64,
}

impl Latency {
    pub(super) fn new(now: Instant) -> Self {
        Self { estimate: AtomicU64::new(0), begun: now, measured: AtomicU64::new(0) }
    }

    /// What one more request costs where `in_flight` are waiting already.
    pub(super) fn cost(&self, in_flight: usize) -> f64 {
        self.estimate().max(FLOOR) * (in_flight as f64 + 1.0)
    }

    pub(super) fn took(&self, time: Duration, now: Instant) {
        let time = time.as_secs_f64();
        let faded = self.age(now);
        let before = self.estimate();
        let after = if time > before { time } else { before * faded + time * (1.0 - faded) };
        self.estimate.store(after.to_bits(), Ordering::Relaxed);
    }

    /// Forgets a little, also of one that nobody asks: it gets another chance.
    pub(super) fn fade(&self, now: Instant) {
        let faded = self.age(now);
        self.estimate.store((self.estimate() * faded).to_bits(), Ordering::Relaxed);
    }

    fn estimate(&self) -> f64 {
        f64::from_bits(self.estimate.load(Ordering::Relaxed))
    }

    /// How much of the estimate is left since it was last looked at.
    fn age(&self, now: Instant) -> f64 {
        let now = u64::try_from(now.saturating_duration_since(self.begun).as_nanos()).unwrap_or(u64::MAX);
        let before = self.measured.swap(now, Ordering::Relaxed);
        let passed = Duration::from_nanos(now.saturating_sub(before));
        (-passed.as_secs_f64() / MEMORY.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn peaks_are_believed_at_once_and_forgotten_slowly() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let latency = Latency::new(start);
        assert_eq!(latency.cost(0), FLOOR, "never asked");
        latency.took(Duration::from_millis(10), at(0));
        latency.took(Duration::from_secs(2), at(1));
        assert_eq!((latency.cost(0), latency.cost(1)), (2.0, 4.0));
        latency.took(Duration::from_millis(10), at(1));
        assert!(latency.cost(0) > 1.9, "one quick answer is not enough: {}", latency.cost(0));
        for second in 2..=40 {
            latency.took(Duration::from_millis(10), at(second));
        }
        assert!(latency.cost(0) < 0.1, "{}", latency.cost(0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_asked_is_forgiven() {
        let start = Instant::now();
        let latency = Latency::new(start);
        latency.took(Duration::from_secs(2), start);
        for second in 1..=120 {
            latency.fade(start + Duration::from_secs(second));
        }
        assert_eq!(latency.cost(0), FLOOR);
    }
}
