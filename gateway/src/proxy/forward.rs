//! Sending a permitted request to an application and taking its answer.

use std::pin::pin;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, UPGRADE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::authorize::Still;
use super::body::{Source, Upstream as UpstreamBody};
use super::endpoint::{Lease, Leased, Unreachable};
use super::pool::Upstream;
use super::transfer::{Fault, RequestBody, Transfer, within};
use crate::problem::{Problem, catalogue};
use crate::routing::Protocol;

/// After so long without use, a connection may have been closed by the other side without our having seen it.
const DOUBTFUL: Duration = Duration::from_millis(50);

/// Why there is no answer to pass on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{upstream} cannot be reached: {source}")]
    Unreachable {
        upstream: String,
        #[source]
        source: Unreachable,
    },
    #[error("{upstream} did not answer within {after:?}")]
    TimedOut { upstream: String, after: Duration },
    #[error("{upstream} broke off: {source}")]
    Broken {
        upstream: String,
        #[source]
        source: hyper::Error,
    },
    #[error("the application changed protocols without being asked")]
    Switched,
    #[error("the request's body: {0}")]
    Body(Fault),
    #[error("while it waited: {0}")]
    Refused(guard::Refusal),
}

impl Failure {
    pub(super) fn problem(&self) -> Problem {
        match self {
            Failure::Unreachable { source: Unreachable::Full, .. } => Problem::new(catalogue::OVERLOADED)
                .detail("The application has as many requests as it may have at once."),
            Failure::Unreachable { source: Unreachable::TimedOut { .. }, .. } => {
                Problem::new(catalogue::UPSTREAM_TIMEOUT).detail("It took no connection in time.")
            }
            Failure::Unreachable { .. } => catalogue::UPSTREAM_UNAVAILABLE.into(),
            Failure::TimedOut { .. } => catalogue::UPSTREAM_TIMEOUT.into(),
            Failure::Broken { .. } | Failure::Switched => catalogue::UPSTREAM_FAILED.into(),
            Failure::Refused(refusal) => (*refusal).into(),
            Failure::Body(Fault::TooLarge) => catalogue::BODY_TOO_LARGE.into(),
            Failure::Body(Fault::TooSlow) => {
                Problem::new(catalogue::REQUEST_TIMEOUT).detail("The request's body did not arrive in time.")
            }
            Failure::Body(Fault::Broken) => {
                Problem::new(catalogue::REQUEST_MALFORMED).detail("The body is not what the head announced.")
            }
        }
    }

    /// Whether it is the application's fault.
    pub(super) fn is_upstream(&self) -> bool {
        !matches!(
            self,
            Failure::Body(_) | Failure::Refused(_) | Failure::Unreachable { source: Unreachable::Full, .. }
        )
    }
}

/// An application's answer, and whether it was had at the second attempt.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) leased: Leased,
    pub(super) retried: bool,
}

impl Answer {
    pub(super) fn into_response(self) -> Response<Source> {
        let Self { response, leased, retried: _ } = self;
        let (parts, body) = response.into_parts();
        let mut response = Response::new(UpstreamBody::source(body, leased.lease));
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        response
    }

    /// Of an answer that leaves HTTP.
    pub(super) fn into_switch(self) -> (Response<Source>, Lease) {
        let Self { response, leased, retried: _ } = self;
        let mut switch = Response::new(Source::Empty);
        *switch.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *switch.headers_mut() = response.into_parts().0.headers;
        (switch, leased.lease)
    }
}

/// Sends a request whose headers are ready. At most one retry, and none where one endpoint could not be reached already:
/// of what was never sent, or of a request that may be repeated, has no body, and broke off before its answer began. For
/// the latter it must be copied beforehand, which is done where a retry can help: where there is another endpoint, or
/// where a connection was idle for long enough to have been closed by the other side. What had to wait is sent only if
/// `still` holds. The rule's timeout is for both attempts together.
pub(super) async fn send(
    upstream: &Upstream,
    request: Request<RequestBody>,
    transfer: Option<&Transfer>,
    still: Still<'_>,
) -> Result<Answer, Failure> {
    let mut leased = upstream.lease().await.map_err(|source| unreachable(upstream, source))?;
    if leased.waited {
        Box::pin(still.holds()).await.map_err(Failure::Refused)?;
    }
    let several = upstream.has_several();
    let doubtful = !leased.second && (several || leased.idle.is_some_and(|idle| idle >= DOUBTFUL));
    let spare = match transfer {
        None if doubtful && is_repeatable(request.method()) => Some(Box::new(copy(&request))),
        _ => None,
    };
    let begun = Instant::now();
    let after = upstream.rule().timeout;
    let Some(sent) = leased.lease.send(request) else { return Err(unreachable(upstream, Unreachable::None)) };
    // Most requests have no body. What waits for one that is moving is larger, and boxed.
    let sent = match transfer {
        None => leased.lease.wait(begun + after, pin!(sent)).await,
        Some(transfer) => Box::pin(within(sent, begun + after, after, transfer)).await,
    };
    let timed = several.then_some(begun);
    match sent {
        Some(Ok(response)) => {
            leased.lease.answered(timed);
            Ok(Answer { response, leased, retried: false })
        }
        Some(Err(mut failed)) => {
            let unsent = failed.take_message().map(Box::new);
            let error = failed.into_error();
            if has_fault(transfer) {
                return Err(broken(upstream, error, transfer));
            }
            // An idle connection's end that meets a request is nobody's fault.
            let met_its_end = match leased.idle {
                None => false,
                Some(Duration::ZERO) => unsent.is_some(),
                Some(_) => true,
            };
            if !met_its_end {
                leased.lease.failed(timed);
            }
            match unsent.or(spare) {
                Some(request) if !leased.second && (several || leased.idle.is_some()) => {
                    let deadline = begun + upstream.rule().timeout;
                    Box::pin(again(upstream, leased.lease, *request, transfer, still, deadline)).await
                }
                _ => Err(broken(upstream, error, transfer)),
            }
        }
        None => {
            if !has_fault(transfer) {
                leased.lease.failed(timed);
            }
            Err(timed_out(upstream, transfer))
        }
    }
}

async fn again(
    upstream: &Upstream,
    former: Lease,
    request: Request<RequestBody>,
    transfer: Option<&Transfer>,
    still: Still<'_>,
    deadline: Instant,
) -> Result<Answer, Failure> {
    let ready = async {
        let leased = upstream.lease_again(former).await.map_err(|source| unreachable(upstream, source))?;
        still.holds().await.map_err(Failure::Refused)?;
        Ok(leased)
    };
    let Ok(ready) = timeout_at(deadline, ready).await else { return Err(timed_out(upstream, transfer)) };
    let mut leased = ready?;
    let begun = upstream.has_several().then(Instant::now);
    let Some(sent) = leased.lease.send(request) else { return Err(unreachable(upstream, Unreachable::None)) };
    // The connection's alarm is set for a whole timeout.
    let sent = match transfer {
        None => timeout_at(deadline, sent).await.ok(),
        Some(transfer) => within(sent, deadline, upstream.rule().timeout, transfer).await,
    };
    if let Some(Ok(response)) = sent {
        leased.lease.answered(begun);
        return Ok(Answer { response, leased, retried: true });
    }
    match sent {
        Some(Err(failed)) => {
            if !has_fault(transfer) {
                leased.lease.failed(begun);
            }
            Err(broken(upstream, failed.into_error(), transfer))
        }
        // It had what the first one left of the time, which may be next to nothing: that says nothing about it.
        _ => Err(timed_out(upstream, transfer)),
    }
}

#[cold]
fn unreachable(upstream: &Upstream, source: Unreachable) -> Failure {
    Failure::Unreachable { upstream: upstream.rule().name.clone(), source }
}

/// A request that broke off because its body did is not the application's fault.
#[cold]
fn broken(upstream: &Upstream, source: hyper::Error, transfer: Option<&Transfer>) -> Failure {
    match transfer.and_then(Transfer::fault) {
        Some(fault) => Failure::Body(fault),
        None => Failure::Broken { upstream: upstream.rule().name.clone(), source },
    }
}

#[cold]
fn timed_out(upstream: &Upstream, transfer: Option<&Transfer>) -> Failure {
    match transfer.and_then(Transfer::fault) {
        Some(fault) => Failure::Body(fault),
        None => Failure::TimedOut { upstream: upstream.rule().name.clone(), after: upstream.rule().timeout },
    }
}

fn has_fault(transfer: Option<&Transfer>) -> bool {
    transfer.is_some_and(|transfer| transfer.fault().is_some())
}

/// RFC 9110 §9.2.2, less those that have a body in practice.
fn is_repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// The head of the request to an application. `parts` has its final headers, but for what is said here.
pub(super) fn head(
    mut parts: Parts,
    strip: usize,
    protocol: Protocol,
    body: RequestBody,
) -> Request<RequestBody> {
    let mut request = Request::new(body);
    *request.uri_mut() = match protocol {
        Protocol::Http1 => {
            if let Some(host) =
                parts.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())
            {
                parts.headers.insert(HOST, host);
            }
            target(parts.uri, strip, None)
        }
        // It names its host beside the path, and only there.
        Protocol::Http2 => {
            let host = parts.headers.remove(HOST);
            let host = parts.uri.authority().cloned().or_else(|| host?.as_bytes().try_into().ok());
            target(parts.uri, strip, Some(host.unwrap_or(Authority::from_static("localhost"))))
        }
    };
    *request.method_mut() = parts.method;
    *request.headers_mut() = parts.headers;
    request
}

/// The same bytes, less the prefix that the route takes off: with `host` in absolute form, otherwise in origin form.
fn target(uri: Uri, strip: usize, host: Option<Authority>) -> Uri {
    if strip == 0 && uri.authority().is_none() && host.is_none() {
        return uri;
    }
    let mut parts = http::uri::Parts::default();
    let path = uri.into_parts().path_and_query.unwrap_or(PathAndQuery::from_static("/"));
    parts.path_and_query = match path.as_str().get(strip..) {
        Some(rest) if strip > 0 => {
            PathAndQuery::from_maybe_shared(bytes::Bytes::copy_from_slice(rest.as_bytes())).ok()
        }
        _ => Some(path),
    };
    if host.is_some() {
        (parts.scheme, parts.authority) = (Some(Scheme::HTTP), host);
    }
    Uri::from_parts(parts).unwrap_or_default()
}

/// Whether a request asks to leave HTTP on this connection, for what (RFC 9110 §7.8). A body beside it, or a wish for
/// HTTP/2, is answered as if it had not asked.
pub(super) fn wants_upgrade(parts: &Parts, body: &Incoming) -> Option<HeaderValue> {
    let protocol = parts.headers.get(UPGRADE)?;
    let one = parts.headers.get_all(UPGRADE).iter().nth(1).is_none();
    let named = parts.headers.get_all(CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|name| name.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    let http = protocol.as_bytes().get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2"));
    let plain = parts.version == Version::HTTP_11 && hyper::body::Body::is_end_stream(body);
    (one && named && !http && plain).then(|| protocol.clone())
}

/// What a request must say so that an upgrade can come of it.
pub(super) fn ask_upgrade(headers: &mut HeaderMap, protocol: &HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol.clone());
    headers.remove(CONTENT_LENGTH);
}

/// Whether an application answered that it leaves HTTP.
pub(super) fn is_switch(response: &Response<Incoming>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}
