//! What one thread has done. Each thread writes its own, so that counting costs a store and no other thread's cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// One thread's counters.
#[repr(align(128))]
#[derive(Debug, Default)]
pub struct Counters {
    /// Answers by class: 1xx to 5xx.
    answers: [AtomicU64; 5],
    refusals: AtomicU64,
    unavailable: AtomicU64,
    malformed: AtomicU64,
    stale: AtomicU64,
    upstream_failures: AtomicU64,
    upstream_retries: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
}

impl Counters {
    pub(super) fn answered(&self, status: StatusCode) {
        if let Some(class) = self.answers.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            up(class);
        }
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => up(&self.refusals),
            StatusCode::SERVICE_UNAVAILABLE => up(&self.unavailable),
            _ => {}
        }
    }

    pub(super) fn malformed(&self) {
        up(&self.malformed);
    }

    pub(super) fn stale(&self) {
        up(&self.stale);
    }

    pub(super) fn upstream_failed(&self) {
        up(&self.upstream_failures);
    }

    pub(super) fn retried(&self) {
        up(&self.upstream_retries);
    }

    pub(super) fn opened(&self) {
        up(&self.connections);
        up(&self.open);
    }

    pub(super) fn closed(&self) {
        self.open.store(self.open.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }
}

/// By the one thread that writes it, so that nobody comes in between.
fn up(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Name, description, and where it is.
type Sum = (&'static str, &'static str, fn(&Counters) -> &AtomicU64);

/// Makes the threads' counters visible, summed up.
pub fn publish(meter: &Meter, threads: Vec<Arc<Counters>>) {
    let threads: Arc<[Arc<Counters>]> = threads.into();
    let sums: [Sum; 7] = [
        ("latchkey_gateway_refusals", "Requests answered 401 or 403.", |all| &all.refusals),
        ("latchkey_gateway_unavailable", "Requests answered 503.", |all| &all.unavailable),
        ("latchkey_gateway_malformed", "Request heads refused before they were read.", |all| &all.malformed),
        (
            "latchkey_gateway_stale_answers",
            "Requests that a route's stale_for let through without a lease.",
            |all| &all.stale,
        ),
        ("latchkey_gateway_upstream_failures", "Requests that an application did not answer.", |all| {
            &all.upstream_failures
        }),
        ("latchkey_gateway_upstream_retries", "Requests sent a second time.", |all| &all.upstream_retries),
        ("latchkey_gateway_connections", "Client connections accepted.", |all| &all.connections),
    ];
    let sum = |threads: &[Arc<Counters>], read: fn(&Counters) -> &AtomicU64| -> u64 {
        threads.iter().map(|counters| read(counters).load(Ordering::Relaxed)).sum()
    };
    for (name, about, read) in sums {
        let threads = Arc::clone(&threads);
        meter
            .u64_observable_counter(name)
            .with_description(about)
            .with_callback(move |observer| observer.observe(sum(&threads, read), &[]))
            .build();
    }
    let counted = Arc::clone(&threads);
    meter
        .u64_observable_counter("latchkey_gateway_answers")
        .with_description("Answers by class of status.")
        .with_callback(move |observer| {
            for (index, class) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().enumerate() {
                let total = counted
                    .iter()
                    .filter_map(|counters| counters.answers.get(index))
                    .map(|counter| counter.load(Ordering::Relaxed))
                    .sum();
                observer.observe(total, &[KeyValue::new("class", class)]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("latchkey_gateway_open_connections")
        .with_description("Client connections open now.")
        .with_callback(move |observer| observer.observe(sum(&threads, |all| &all.open), &[]))
        .build();
}
