//! Calls to a neighbour: lazy, reconnecting, bounded in time.
//!
//! A neighbour that cannot be reached makes calls fail with UNAVAILABLE at once, or after the connect timeout, and
//! never hang; the first call after it is back connects again. Calls go round over the endpoints, leaving out those
//! that could not be reached a moment ago.

mod bounded;
mod connector;
mod endpoint;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use rustls::pki_types::ServerName;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Service, ServiceExt as _};

use bounded::Bounded;
use connector::{Connector, Reach, Security};
pub(crate) use endpoint::parse_endpoint;

pub use super::call::Call;
use super::call::DEFAULT_TIMEOUT;
use super::context::parse_timeout;
use crate::lifecycle::Lifecycle;
use crate::status;
use crate::tls::Identity;

/// A peer that is gone without a word is noticed after both of these.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// A cloneable way to one service, over however many endpoints. Give it to a generated client. Its connections live
/// on the runtime that it was made in.
#[derive(Clone)]
pub struct Channel {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    endpoints: Vec<Remote>,
    next: AtomicUsize,
    ended: CancellationToken,
}

struct Remote {
    channel: tonic::transport::Channel,
    reach: Arc<Reach>,
}

/// Why there can be no channel.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("the endpoint {endpoint:?} {reason}")]
    Endpoint { endpoint: String, reason: &'static str },
    #[error("a channel needs at least one endpoint")]
    NoEndpoint,
    #[error("{0:?} cannot be a server's name")]
    ServerName(String),
}

/// A channel to `server_name` at `endpoints` (`https://host:port`). Connects at the first call. Must be made inside a
/// runtime, which may be a current-thread one. The neighbour's state is shown by `/readyz?verbose`.
pub fn channel(
    endpoints: &[String],
    identity: &Identity,
    server_name: &str,
    lifecycle: &Lifecycle,
) -> Result<Channel, ChannelError> {
    if endpoints.is_empty() {
        return Err(ChannelError::NoEndpoint);
    }
    let tls_name = ServerName::try_from(server_name.to_owned())
        .map_err(|_| ChannelError::ServerName(server_name.to_owned()))?;
    let security = identity.client_config().map(|config| Security { config: config.into(), name: tls_name });
    let group = connector::Group::new(endpoints.len(), lifecycle.dependency(server_name));
    let mut remotes = Vec::with_capacity(endpoints.len());
    for (text, reach) in endpoints.iter().zip(group.members()) {
        let wrong = |reason| ChannelError::Endpoint { endpoint: text.clone(), reason };
        let parsed = parse_endpoint(text).map_err(wrong)?;
        parsed.judge(security.is_some()).map_err(wrong)?;
        // tonic is told `http` whatever is used: security is our connector's, and tonic would insist on its own. What
        // the server sees is the origin.
        let scheme = if security.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://{server_name}").parse().map_err(|_| wrong("is not an address"))?;
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", parsed.authority()))
            .map_err(|_| wrong("is not an address"))?
            .origin(origin)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(Connector::new(parsed, security.clone(), reach.clone()));
        remotes.push(Remote { channel, reach });
    }
    Ok(Channel {
        inner: Arc::new(Inner {
            name: server_name.to_owned(),
            endpoints: remotes,
            next: AtomicUsize::new(0),
            ended: lifecycle.ended(),
        }),
    })
}

impl Inner {
    /// The next endpoint in turn that is not known to be out of reach, else just the next: somebody has to try.
    fn pick(&self) -> Option<&Remote> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.endpoints.len().max(1);
        let (before, from) = self.endpoints.split_at_checked(first)?;
        let mut turn = from.iter().chain(before);
        turn.clone().find(|remote| !remote.reach.is_held()).or_else(|| turn.next())
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> Status {
        tracing::debug!(peer = self.name, error = %status::chain(error), "a call could not be made");
        out_of_reach(&self.name)
    }
}

fn out_of_reach(name: &str) -> Status {
    let message = format!("{name} cannot be reached");
    status::with_retry(Code::Unavailable, "UNAVAILABLE", message, Duration::from_secs(1))
}

fn too_late(name: &str) -> Status {
    status::refusal(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", format!("{name} did not answer in time"))
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // Readiness is part of the call, so that the deadline is around it too.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let inner = self.inner.clone();
        let headers = request.headers_mut();
        let timeout = headers.get("grpc-timeout").and_then(|value| parse_timeout(value.to_str().ok()?));
        let timeout = timeout.unwrap_or_else(|| {
            headers.insert("grpc-timeout", HeaderValue::from_static("5S"));
            DEFAULT_TIMEOUT
        });
        let now = Instant::now();
        let deadline = now.checked_add(timeout).unwrap_or(now + DEFAULT_TIMEOUT);
        Box::pin(async move {
            let Some(remote) = inner.pick() else { return Err(out_of_reach(&inner.name)) };
            let answer = tokio::select! {
                answer = tokio::time::timeout_at(deadline, remote.channel.clone().oneshot(request)) => answer,
                () = inner.ended.cancelled() => return Err(out_of_reach(&inner.name)),
            };
            match answer {
                Ok(Ok(response)) => {
                    Ok(response.map(|body| Body::new(Bounded::new(body, deadline, inner.name.as_str()))))
                }
                // tonic keeps the same deadline and may notice it first.
                Ok(Err(_)) if Instant::now() >= deadline => Err(too_late(&inner.name)),
                Ok(Err(error)) => Err(inner.unreachable(&error)),
                Err(_elapsed) => Err(too_late(&inner.name)),
            }
        })
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("name", &self.inner.name).finish_non_exhaustive()
    }
}
