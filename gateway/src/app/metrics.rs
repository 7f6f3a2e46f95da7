//! The guard's counts, where collectors find them.

use std::sync::Arc;

use guard::Counts;
use opentelemetry::metrics::Meter;

use crate::state::Shared;

/// Name, description, and which of the counts.
type Count = (&'static str, &'static str, fn(Counts) -> u64);

/// What the guard has done, as metrics. Weak: the metrics outlive nothing that they would keep alive.
pub(super) fn show_tokens(meter: &Meter, shared: &Arc<Shared>) {
    let counts: [Count; 5] = [
        ("latchkey_gateway_tokens_verified", "Token signatures checked and found good.", |counts| {
            counts.verified
        }),
        ("latchkey_gateway_tokens_invalid", "Tokens refused.", |counts| counts.invalid),
        ("latchkey_gateway_tokens_unavailable", "Tokens about which nobody could tell.", |counts| {
            counts.unavailable
        }),
        ("latchkey_gateway_key_fetches", "Key sets asked for.", |counts| counts.key_fetches),
        ("latchkey_gateway_key_fetch_failures", "Key sets that could not be had.", |counts| {
            counts.key_fetch_failures
        }),
    ];
    for (name, about, read) in counts {
        let shared = Arc::downgrade(shared);
        meter
            .u64_observable_counter(name)
            .with_description(about)
            .with_callback(move |observer| {
                if let Some(shared) = shared.upgrade() {
                    observer.observe(read(shared.guard.counts()), &[]);
                }
            })
            .build();
    }
    let shared = Arc::downgrade(shared);
    meter
        .u64_observable_gauge("latchkey_gateway_tokens_remembered")
        .with_description("Verified tokens held.")
        .with_callback(move |observer| {
            if let Some(shared) = shared.upgrade() {
                observer.observe(u64::try_from(shared.guard.counts().remembered).unwrap_or(u64::MAX), &[]);
            }
        })
        .build();
}
