//! What collectors see of the applications. The labels are names of the route file, and so bounded by it.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use tokio::sync::watch;

use super::{Backend, Table};

/// Name, description, and how it is read.
type Gauge = (&'static str, &'static str, fn(&Backend) -> usize);

pub(super) fn show(meter: &Meter, tables: watch::Receiver<Arc<Table>>) {
    let gauges: [Gauge; 2] = [
        ("latchkey_gateway_upstream_in_flight", "Requests with an application now.", |backend| {
            backend.limit.taken()
        }),
        ("latchkey_gateway_upstream_queued", "Requests that wait for a place now.", |backend| {
            backend.limit.waiting()
        }),
    ];
    for (name, about, read) in gauges {
        let tables = tables.clone();
        meter
            .u64_observable_gauge(name)
            .with_description(about)
            .with_callback(move |gauge| {
                for backend in &tables.borrow().backends {
                    gauge.observe(u64::try_from(read(backend)).unwrap_or(u64::MAX), &[upstream(backend)]);
                }
            })
            .build();
    }
    let of = tables.clone();
    meter
        .u64_observable_counter("latchkey_gateway_upstream_turned_away")
        .with_description(
            "Requests for which there was no place. Begins again when the upstream's block changes.",
        )
        .with_callback(move |counter| {
            for backend in &of.borrow().backends {
                counter.observe(backend.limit.turned_away(), &[upstream(backend)]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("latchkey_gateway_upstream_endpoints")
        .with_description("Endpoints of an application: used, or left out.")
        .with_callback(move |gauge| {
            for backend in &tables.borrow().backends {
                let endpoints = backend.endpoints();
                let well = endpoints.iter().filter(|endpoint| endpoint.is_well()).count();
                for (state, count) in [("used", well), ("left_out", endpoints.len() - well)] {
                    let count = u64::try_from(count).unwrap_or(u64::MAX);
                    gauge.observe(count, &[upstream(backend), KeyValue::new("state", state)]);
                }
            }
        })
        .build();
}

fn upstream(backend: &Backend) -> KeyValue {
    KeyValue::new("upstream", backend.rule.name.clone())
}
