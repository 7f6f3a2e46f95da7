//! Calls of a store, by the names of OpenTelemetry's conventions for databases. Which call it is is told, never what it
//! is about: neither statements nor values.

use futures_util::FutureExt as _;
use futures_util::future::lazy;
use tracing::field::Empty;
use tracing::{Instrument as _, Level, Span};

/// Does `work` within a span that says which operation (`find`) of which system (`postgresql`, `sqlite`, `redis`) it is.
/// Only as part of a trace: what nobody asked for, such as a sweep, is nobody's trace.
// Not `async`: that would keep `work` twice, and it is allocated and moved with each call of a store.
pub fn storing<T, E>(
    system: &'static str,
    operation: &'static str,
    work: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    lazy(move |_| begin(system, operation)).then(move |span| {
        work.instrument(span.clone()).inspect(move |done| {
            if done.is_err() {
                span.record("otel.status_code", "ERROR");
            }
        })
    })
}

fn begin(system: &'static str, operation: &'static str) -> Span {
    // The common case costs one look at a static.
    if !tracing::span_enabled!(target: super::TARGET, Level::INFO, "store") || Span::current().is_none() {
        return Span::none();
    }
    tracing::info_span!(
        target: super::TARGET,
        "store",
        otel.name = operation,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = system,
        db.operation.name = operation,
    )
}
