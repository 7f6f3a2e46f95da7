//! Calls to a neighbour: over all its replicas that are ready, bounded in time, never hanging.
//!
//! tonic's balanced channel sends calls to endpoints that it has no connection to and waits for ever when there is
//! none (grpc-rust#2839), so this is our own, over hyper. A replica takes calls while its connection stands and its
//! health check says that it is ready; each call goes to the less loaded of two at random; the deadline is around
//! everything. Who is not there is connected to in the background, and with nobody there calls fail with
//! UNAVAILABLE at once.
//!
//! A call is made a second time, on another connection, if the first attempt was certainly not processed. One that may be
//! made twice, a read, also if the connection broke, or if the replica says that it is unavailable and another has not
//! lately said so. Never after a deadline, and never because of another answer. What was not even sent does not count as
//! made: where several connections go at once, it goes on to the next.

mod apart;
mod bounded;
mod connector;
mod endpoint;
mod link;
mod load;
mod outgoing;
mod repeatable;
mod replica;
mod resolve;
mod roster;

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use rustls::pki_types::ServerName;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;
use tracing::{Instrument as _, Span};

use apart::Apart;
use bounded::Bounded;
use connector::{Connector, Security};
pub(crate) use endpoint::parse_target;
use endpoint::{Place, Target};
use link::{Link, Origin, Unanswered};
use outgoing::Outgoing;
use replica::Replica;
use resolve::Name;
pub use resolve::{Resolution, Resolve, ResolveError};
use roster::Roster;

pub use super::call::Call;
use super::call::DEFAULT_TIMEOUT;
use super::context::{format_timeout, parse_timeout};
use crate::lifecycle::Lifecycle;
use crate::status;
use crate::telemetry::traces;
use crate::tls::Identity;

/// How often a call that was not even sent goes on to another connection. That more of them go just then is no accident.
const UNSENT: u32 = 8;

/// A cloneable way to one service, over however many replicas. Give it to a generated client. Its connections live
/// on the runtime that it was made in.
#[derive(Clone)]
pub struct Channel {
    inner: Arc<Inner>,
    /// Where the last call went, if the next is to go elsewhere.
    avoided: Option<Arc<Mutex<Option<Place>>>>,
}

struct Inner {
    name: Arc<str>,
    origin: Origin,
    roster: Arc<Roster>,
    retries: Counter<u64>,
    /// Ends what runs in the background.
    _dropped: DropGuard,
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
    #[error("the endpoint {endpoint:?} cannot be looked up: {reason}")]
    Resolver { endpoint: String, reason: String },
}

/// A channel to `server_name` at `endpoints`: `https://host:port` each, or `dns:host:port` for every address of a name.
/// Connects in the background. Must be made inside a runtime, which may be a current-thread one. The neighbour's state
/// is shown by `/readyz?verbose`.
pub fn channel(
    endpoints: &[String],
    identity: &Identity,
    server_name: &str,
    lifecycle: &Lifecycle,
) -> Result<Channel, ChannelError> {
    channel_resolving(endpoints, identity, server_name, lifecycle, &Resolution::default())
}

/// As [`channel`], with names looked up in another way.
pub fn channel_resolving(
    endpoints: &[String],
    identity: &Identity,
    server_name: &str,
    lifecycle: &Lifecycle,
    resolution: &Resolution,
) -> Result<Channel, ChannelError> {
    if endpoints.is_empty() {
        return Err(ChannelError::NoEndpoint);
    }
    let unusable = || ChannelError::ServerName(server_name.to_owned());
    let tls_name = ServerName::try_from(server_name.to_owned()).map_err(|_| unusable())?;
    let security = identity.client_config().map(|config| Security { config: config.into(), name: tls_name });
    let (mut fixed, mut names) = (Vec::new(), Vec::new());
    for (number, text) in endpoints.iter().enumerate() {
        let wrong = |reason| ChannelError::Endpoint { endpoint: text.clone(), reason };
        let target = parse_target(text).map_err(wrong)?;
        target.judge(security.is_some()).map_err(wrong)?;
        match target {
            Target::One { place, .. } => fixed.push((number, place)),
            Target::Every { server, place } => {
                let resolver = resolution.resolver(server).map_err(|error| ChannelError::Resolver {
                    endpoint: text.clone(),
                    reason: error.to_string(),
                })?;
                names.push(Name { number, place, resolver, every: resolution.every });
            }
        }
    }
    let scheme = if security.is_some() { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP };
    let origin = Origin { scheme, authority: server_name.parse().map_err(|_| unusable())? };
    let neighbour: Arc<str> = server_name.into();
    let apart = Apart::new(server_name, lifecycle);
    let roster =
        Arc::new(Roster::new(lifecycle.dependency(server_name), apart, names.len(), lifecycle.ended()));
    let dropped = CancellationToken::new();
    let meter = lifecycle.metrics().meter();
    let keeper = Keeper {
        roster: roster.clone(),
        connector: Arc::new(Connector { security, origin: origin.clone(), lifecycle: lifecycle.clone() }),
        neighbour: neighbour.clone(),
        ejections: meter
            .u64_counter("latchkey_process_replica_ejections")
            .with_description("Replicas of neighbours that were left out although connected, by neighbour.")
            .build(),
        dropped: dropped.clone(),
    };
    fixed.into_iter().for_each(|(number, place)| keeper.keep(number, place));
    names.into_iter().for_each(|name| keeper.clone().follow(name));
    Ok(Channel {
        avoided: None,
        inner: Arc::new(Inner {
            name: neighbour,
            origin,
            roster,
            retries: meter
                .u64_counter("latchkey_process_call_retries")
                .with_description(
                    "Calls to neighbours that were made again on another connection, by neighbour.",
                )
                .build(),
            _dropped: dropped.drop_guard(),
        }),
    })
}

/// Begins what runs in the background for a channel, until that is dropped.
#[derive(Clone)]
struct Keeper {
    roster: Arc<Roster>,
    connector: Arc<Connector>,
    neighbour: Arc<str>,
    ejections: Counter<u64>,
    dropped: CancellationToken,
}

impl Keeper {
    fn keep(&self, number: usize, place: Place) {
        let key = (number, place);
        let Some(removed) = self.roster.add(key.clone()) else { return };
        let Keeper { roster, connector, neighbour, ejections, dropped } = self.clone();
        let lifecycle = connector.lifecycle.clone();
        let replica = Replica { key, removed, roster, connector, ejections, neighbour };
        lifecycle.spawn_support_work("a neighbour's replica", async move {
            dropped.run_until_cancelled(replica.run()).await;
        });
    }

    fn follow(self, name: Name) {
        let lifecycle = self.connector.lifecycle.clone();
        lifecycle.spawn_support_work("a neighbour's name", async move {
            let number = name.number;
            let follow = name.follow(&self.roster, |place| self.keep(number, place));
            self.dropped.run_until_cancelled(follow).await;
        });
    }
}

impl Channel {
    /// A way on which each call goes to another replica than the one before it, if another takes calls.
    pub fn elsewhere(&self) -> Channel {
        Channel { inner: self.inner.clone(), avoided: Some(Arc::default()) }
    }
}

impl Inner {
    async fn answer(
        &self,
        request: Request<Body>,
        deadline: Instant,
        avoided: Option<&Mutex<Option<Place>>>,
    ) -> Result<Response<Body>, Status> {
        let (mut parts, body) = request.into_parts();
        let is_repeatable = repeatable::is_repeatable(parts.uri.path());
        parts.uri = self.origin.at(parts.uri.path_and_query()).ok_or_else(|| out_of_reach(&self.name))?;
        let mut request = Request::from_parts(parts, Outgoing::gather(body).await?);
        let (mut failed, mut healthier, mut said) = (None, None, None);
        let (mut is_repeated, mut unsent_before) = (false, 0);
        loop {
            let link = match (healthier.take(), avoided) {
                (Some(healthier), _) => Some(healthier),
                (None, Some(avoided)) if failed.is_none() => self.choose_another(avoided).await,
                (None, _) => self.roster.choose(failed.as_ref()).await,
            };
            let Some(link) = link else { return Err(out_of_reach(&self.name)) };
            if let Some(avoided) = avoided {
                *avoided.lock().unwrap_or_else(PoisonError::into_inner) = Some(link.place().clone());
            }
            let copy = if is_repeated { None } else { outgoing::copy(&request) };
            // Only now: whoever takes it may have had to be waited for.
            let left = format_timeout(deadline.saturating_duration_since(Instant::now()));
            if let Ok(left) = HeaderValue::try_from(left) {
                request.headers_mut().insert("grpc-timeout", left);
            }
            let again = match link.call(request).await {
                Ok(answer) => {
                    let copy = copy.filter(|_| is_repeatable && link::is_unavailable(&answer));
                    healthier = copy.as_ref().and_then(|_| self.roster.take_healthier(&link));
                    let Some(copy) = copy.filter(|_| healthier.is_some()) else {
                        return Ok(answer.map(|body| self.bounded(body, deadline)));
                    };
                    said = Some(answer);
                    is_repeated = true;
                    copy
                }
                Err(Unanswered { unsent, error }) => {
                    let refused = error.as_ref().and_then(link::reset);
                    if !refused.is_some_and(|reset| reset.of_stream) {
                        link.retire();
                    }
                    let is_safe = is_repeatable || refused.is_some_and(|reset| reset.unprocessed);
                    let unsent = unsent.filter(|_| said.is_none() && unsent_before < UNSENT);
                    unsent_before += u32::from(unsent.is_some());
                    is_repeated |= unsent.is_none();
                    let Some(safe) = unsent.or(copy.filter(|_| is_safe)) else {
                        let error = error.as_ref().map(|error| status::chain(error));
                        tracing::debug!(peer = &*self.name, error, "a call could not be made");
                        // What the first one said says more.
                        let said = said.map(|answer| answer.map(|body| self.bounded(body, deadline)));
                        return said.ok_or_else(|| out_of_reach(&self.name));
                    };
                    safe
                }
            };
            self.retries.add(1, &[KeyValue::new("peer", self.name.to_string())]);
            (request, failed) = (again, Some(link));
        }
    }

    fn bounded(&self, body: Incoming, deadline: Instant) -> Body {
        Body::new(Bounded::new(body, deadline, self.name.clone()))
    }

    async fn choose_another(&self, avoided: &Mutex<Option<Place>>) -> Option<Arc<Link>> {
        let last = avoided.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match last.and_then(|last| self.roster.take_elsewhere(&last)) {
            Some(another) => Some(another),
            None => self.roster.choose(None).await,
        }
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

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, avoided) = (self.inner.clone(), self.avoided.clone());
        let timeout = request.headers().get("grpc-timeout");
        let timeout =
            timeout.and_then(|value| parse_timeout(value.to_str().ok()?)).unwrap_or(DEFAULT_TIMEOUT);
        let now = Instant::now();
        let deadline = now.checked_add(timeout).unwrap_or(now + DEFAULT_TIMEOUT);
        let (mut parts, body) = request.into_parts();
        let method = parts.uri.path().trim_start_matches('/');
        let span = traces::asking(&inner.name, method, &mut parts.headers);
        let request = Request::from_parts(parts, body);
        let call = async move {
            let answer =
                match tokio::time::timeout_at(deadline, inner.answer(request, deadline, avoided.as_deref()))
                    .await
                {
                    Ok(answer) => answer,
                    Err(_elapsed) => Err(too_late(&inner.name)),
                };
            if answer.is_err() {
                Span::current().record("otel.status_code", "ERROR");
            }
            answer
        };
        if span.is_disabled() { Box::pin(call) } else { Box::pin(call.instrument(span)) }
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
