//! Trace context in headers, of HTTP and of gRPC, which are the same: in with what is answered, out with what is asked.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, global};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The span of answering a request whose caller sent `headers`. `name` is of a bounded set: a method, a route.
pub fn answering(name: &str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        target: super::TARGET,
        "answer",
        otel.name = name,
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        http.response.status_code = tracing::field::Empty,
    );
    if !span.is_disabled() {
        join(&span, &extract(headers));
    }
    span
}

/// The span of asking `peer` for `name`, and in `headers` what the other side joins it by. Within the span of
/// answering something if there is one, else of the trace that the headers name already.
pub fn asking(peer: &str, name: &str, headers: &mut HeaderMap) -> Span {
    let span = tracing::info_span!(
        target: super::TARGET,
        "ask",
        otel.name = name,
        otel.kind = "client",
        otel.status_code = tracing::field::Empty,
        peer,
    );
    if !span.is_disabled() {
        if !Context::current().has_active_span() {
            join(&span, &extract(headers));
        }
        let context = span.context();
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut Headers(headers));
        });
    }
    span
}

/// Notes in the span of answering something by HTTP what the answer is.
pub fn answered(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// The id of the trace that a span belongs to, for log lines.
pub fn id(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let id = context.span().span_context().trace_id();
    (id != opentelemetry::TraceId::INVALID).then(|| id.to_string())
}

/// Only under a caller that sent a context: without one the span keeps what it is in.
fn join(span: &Span, context: &Context) {
    if context.span().span_context().is_valid() {
        // Fails where nobody exports, and then there is nothing to join.
        let _ = span.set_parent(context.clone());
    }
}

fn extract(headers: &HeaderMap) -> Context {
    global::get_text_map_propagator(|propagator| propagator.extract(&Sent(headers)))
}

struct Sent<'a>(&'a HeaderMap);

impl Extractor for Sent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        let (name, value) = (HeaderName::try_from(key), HeaderValue::try_from(value));
        if let (Ok(name), Ok(value)) = (name, value)
            && !value.is_empty()
        {
            self.0.insert(name, value);
        }
    }
}
