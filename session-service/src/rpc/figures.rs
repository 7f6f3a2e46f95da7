//! What flows counted, as metrics.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::domain::EndReason;
use crate::flows::{Figure, Figures};

/// Shows them on `meter` as long as it lives.
pub fn show_figures(meter: &Meter, figures: Arc<Figures>) {
    type Labelled = (&'static [(&'static str, &'static str)], fn(&Figures) -> &Figure);
    let counters: [(&'static str, &'static str, &'static [Labelled]); 6] = [
        ("latchkey_session_creations", "Sessions made from a login proof.", &[(&[], |all| &all.created)]),
        (
            "latchkey_session_creations_refused",
            "Logins that made no session, by reason.",
            &[
                (&[("reason", "proof_invalid")], |all| &all.proofs_refused),
                (&[("reason", "session_limit")], |all| &all.limit_refused),
            ],
        ),
        (
            "latchkey_session_lookups",
            "Secrets looked up, by result; a store that could not be asked is not among them.",
            &[
                (&[("result", "found")], |all| &all.resolved),
                (&[("result", "not_found")], |all| &all.not_found),
            ],
        ),
        ("latchkey_session_rotations", "Secrets replaced.", &[(&[], |all| &all.rotated)]),
        (
            "latchkey_session_activity_writes",
            "Sessions whose activity was written.",
            &[(&[], |all| &all.activity_written)],
        ),
        ("latchkey_session_swept", "Sessions and tombstones deleted.", &[(&[], |all| &all.swept)]),
    ];
    for (name, description, parts) in counters {
        let figures = Arc::clone(&figures);
        meter
            .u64_observable_counter(name)
            .with_description(description)
            .with_callback(move |observer| {
                for (labels, figure) in parts {
                    let labels: Vec<KeyValue> =
                        labels.iter().map(|(name, value)| KeyValue::new(*name, *value)).collect();
                    observer.observe(figure(&figures).get(), &labels);
                }
            })
            .build();
    }
    meter
        .u64_observable_counter("latchkey_session_endings")
        .with_description("Live sessions that were ended, by reason.")
        .with_callback(move |observer| {
            // What was over by itself is no ending that somebody brought about.
            for reason in EndReason::ALL.into_iter().filter(|reason| *reason != EndReason::Expired) {
                observer.observe(figures.ended(reason).get(), &[KeyValue::new("reason", reason.as_str())]);
            }
        })
        .build();
}
