//! What auth-service counts. Plain atomics, read when the metrics are: a login pays one addition.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use opentelemetry::{KeyValue, metrics::Meter};

use crate::hashing::pool::HashingPool;

/// Outcomes since the process began.
#[derive(Debug, Default)]
pub struct Metrics {
    pub logins: Outcomes,
    pub client_tokens: Outcomes,
    pub refreshes: Outcomes,
}

/// How often something was done and how often not. Why not is in the audit lines.
#[derive(Debug, Default)]
pub struct Outcomes {
    done: AtomicU64,
    not_done: AtomicU64,
}

impl Outcomes {
    pub fn count<T, E>(&self, outcome: &Result<T, E>) {
        let counter = if outcome.is_ok() { &self.done } else { &self.not_done };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

type Which = fn(&Metrics) -> &Outcomes;
type Read = fn(&HashingPool) -> u64;

/// Shows them on `meter` as long as it lives.
pub fn show(meter: &Meter, metrics: &Arc<Metrics>, pool: &HashingPool) {
    let counters: [(&str, &str, Which); 3] = [
        ("latchkey_auth_logins", "Logins with a password, by outcome.", |all| &all.logins),
        ("latchkey_auth_client_tokens", "Tokens asked for by clients for themselves, by outcome.", |all| {
            &all.client_tokens
        }),
        ("latchkey_auth_refreshes", "Refreshes, by outcome.", |all| &all.refreshes),
    ];
    for (name, description, which) in counters {
        let metrics = Arc::clone(metrics);
        meter
            .u64_observable_counter(name)
            .with_description(description)
            .with_callback(move |observer| {
                let outcomes = which(&metrics);
                for (outcome, count) in [("success", &outcomes.done), ("failure", &outcomes.not_done)] {
                    observer.observe(count.load(Ordering::Relaxed), &[KeyValue::new("outcome", outcome)]);
                }
            })
            .build();
    }
    let counters: [(&str, &str, Read); 2] = [
        ("latchkey_auth_hashing_runs", "Passwords hashed or verified.", HashingPool::runs),
        (
            "latchkey_auth_hashing_refused",
            "Passwords turned away because the queue was full.",
            HashingPool::refused,
        ),
    ];
    for (name, description, read) in counters {
        let pool = pool.clone();
        meter
            .u64_observable_counter(name)
            .with_description(description)
            .with_callback(move |observer| observer.observe(read(&pool), &[]))
            .build();
    }
    let pool = pool.clone();
    meter
        .u64_observable_gauge("latchkey_auth_hashing_queue")
        .with_description("Passwords that wait to be hashed.")
        .with_callback(move |observer| observer.observe(pool.waiting() as u64, &[]))
        .build();
}
