//! Verified tokens, kept until they expire. Bounded; see [`crate::Settings::capacity`] for what happens at the bound.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use papaya::HashMap;
use time::OffsetDateTime;

use crate::{
    Verified,
    digest::{ByHead, Digest},
};

/// A sweep looks at every entry. It is the cost of some insertion, so it is rare; at the bound it is less rare.
const SWEEP_EVERY_MS: i64 = 30_000;
const SWEEP_WHEN_FULL_EVERY_MS: i64 = 1_000;

pub(crate) struct Remembered<T> {
    tokens: HashMap<Digest, Arc<Verified<T>>, ByHead>,
    capacity: usize,
    /// Unix milliseconds, by the callers' clock.
    swept_at: AtomicI64,
}

impl<T> Remembered<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let tokens = HashMap::with_hasher(ByHead::default());
        Self { tokens, capacity, swept_at: AtomicI64::new(i64::MIN) }
    }

    pub(crate) fn get(&self, digest: &Digest, now: OffsetDateTime) -> Option<Arc<Verified<T>>> {
        self.tokens.pin().get(digest).filter(|verified| verified.is_good(now)).cloned()
    }

    /// Whether there was room.
    pub(crate) fn insert(&self, digest: Digest, verified: Arc<Verified<T>>, now: OffsetDateTime) -> bool {
        self.sweep_if_due(now);
        let tokens = self.tokens.pin();
        // Insertions at the same moment may overshoot by as many as there are threads.
        if tokens.len() >= self.capacity {
            return false;
        }
        tokens.insert(digest, verified);
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    fn sweep_if_due(&self, now: OffsetDateTime) {
        let now_ms = now.unix_timestamp().saturating_mul(1_000).saturating_add(i64::from(now.millisecond()));
        let every = if self.len() < self.capacity { SWEEP_EVERY_MS } else { SWEEP_WHEN_FULL_EVERY_MS };
        let swept_at = self.swept_at.load(Ordering::Relaxed);
        // A clock set back counts as time gone by: better a sweep too many than none for an hour.
        let due = now_ms.saturating_sub(swept_at).saturating_abs() >= every;
        let mine =
            || self.swept_at.compare_exchange(swept_at, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if due && mine() {
            self.tokens.pin().retain(|_, verified| verified.is_good(now));
        }
    }
}
