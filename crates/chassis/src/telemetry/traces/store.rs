//! Calls of a store, by the names of OpenTelemetry's conventions for databases. Which call it is is told, never what it
//! is about: neither statements nor values.

use tracing::field::Empty;
use tracing::{Instrument as _, Level, Span};

/// Does `work` within a span that says which operation (`find`) of which system (`postgresql`, `sqlite`, `redis`) it is.
/// Only as part of a trace: what nobody asked for, such as a sweep, is nobody's trace.
pub async fn storing<T, E>(
    system: &'static str,
    operation: &'static str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    // The common case costs one look at a static.
    if !tracing::span_enabled!(target: super::TARGET, Level::INFO, "store") || Span::current().is_none() {
        return work.await;
    }
    let span = tracing::info_span!(
        target: super::TARGET,
        "store",
        otel.name = operation,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = system,
        db.operation.name = operation,
    );
    let done = work.instrument(span.clone()).await;
    if done.is_err() {
        span.record("otel.status_code", "ERROR");
    }
    done
}
