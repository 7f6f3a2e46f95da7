//! How many checks ended how. Plain atomics, read when the metrics are: a check pays one addition.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::domain::Decision;

/// Checks since the process began, each question of a batch counted.
#[derive(Debug, Default)]
pub struct CheckCounts {
    allow: AtomicU64,
    deny: AtomicU64,
    unavailable: AtomicU64,
}

impl CheckCounts {
    /// Counts, shown as `latchkey_policy_checks_total{decision="allow|deny|unavailable"}`.
    pub fn shown_on(meter: &Meter) -> Arc<Self> {
        let counts = Arc::new(Self::default());
        let shown = Arc::clone(&counts);
        meter
            .u64_observable_counter("latchkey_policy_checks")
            .with_description("Checks by decision; unavailable: the store could not be asked.")
            .with_callback(move |observer| {
                for (decision, count) in
                    [("allow", &shown.allow), ("deny", &shown.deny), ("unavailable", &shown.unavailable)]
                {
                    observer.observe(count.load(Ordering::Relaxed), &[KeyValue::new("decision", decision)]);
                }
            })
            .build();
        counts
    }

    pub(super) fn decided(&self, decisions: &[Decision]) {
        let allowed = decisions.iter().filter(|decision| matches!(decision, Decision::Allow { .. })).count();
        self.allow.fetch_add(allowed as u64, Ordering::Relaxed);
        self.deny.fetch_add((decisions.len() - allowed) as u64, Ordering::Relaxed);
    }

    pub(super) fn unavailable(&self, questions: usize) {
        self.unavailable.fetch_add(questions as u64, Ordering::Relaxed);
    }
}
