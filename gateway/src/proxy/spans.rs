//! The spans of a request. Boxed: what holds a request is moved with it, whether or not anybody exports spans.

use chassis::telemetry::traces;
use http::HeaderMap;
use tracing::Span;

use super::pool::Upstream;
use crate::routing::Route;

/// Of a request to an application, up to the head of the answer; none where nobody exports any. What a client of the open network
/// says about traces is not believed.
pub(super) fn answering(trusted: bool, route: &Route, headers: &HeaderMap) -> Option<Box<Span>> {
    let nothing = HeaderMap::new();
    let headers = if trusted { headers } else { &nothing };
    enabled(traces::answering(route.pattern.as_str(), headers))
}

/// Of asking an application, within that of answering; the application is told of it.
pub(super) fn asking(
    trace: Option<&Span>,
    upstream: &Upstream,
    route: &Route,
    headers: &mut HeaderMap,
) -> Option<Box<Span>> {
    let ask = || traces::asking(&upstream.rule().name, route.pattern.as_str(), headers);
    enabled(trace?.in_scope(ask))
}

fn enabled(span: Span) -> Option<Box<Span>> {
    (!span.is_disabled()).then(|| Box::new(span))
}
