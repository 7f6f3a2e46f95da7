//! One request, from its head to the head of its answer.

mod outgoing;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use chassis::audit::Record;
use chassis::telemetry::traces;
use http::header::{ALLOW, CONTENT_TYPE, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use tower::ServiceExt as _;
use tracing::{Instrument as _, Span};

use super::authorize::{self, Permit, Quick, Refusal, Still};
use super::body::{AnswerBody, Source};
use super::forward;
use super::last_token::LastToken;
use super::options;
use super::plan::Plan;
use super::reached::{Reached, address_header, echoed, host};
use super::spans;
use super::transfer::RequestBody;
use super::worker::{Surface, Thread};
use crate::http1::{Gate, MARKER, Refused};
use crate::layers::caller::{Caller, RequestId};
use crate::layers::cors;
use crate::layers::headers::{self, REQUEST_ID};
use crate::problem::{Problem, catalogue, is_grpc};
use crate::routing::{Found, Route, path};

/// One connection's client.
pub(super) struct Client {
    thread: Arc<Thread>,
    /// For HTTP/1: tells the connection how far its requests are.
    gate: Option<Arc<Gate>>,
    peer: IpAddr,
    /// Whether what the peer forwards is believed.
    trusted: bool,
    peer_header: HeaderValue,
    last_token: LastToken,
}

/// Whose a request is.
enum Place<'a> {
    Route(&'a Route),
    Own,
    Preflight(Box<Response<Source>>),
}

/// What is remembered of a request for its answer.
struct About {
    /// Whether the connection waits to hear what becomes of an upgrade. The scanner judges by the same rule.
    crossing: bool,
    /// The client's own request id.
    echoed: Option<HeaderValue>,
    /// Whether what goes wrong is told as gRPC tells it.
    grpc: bool,
    reader: Option<cors::Reader>,
}

impl About {
    fn of(client: &Client, parts: &Parts, body: &Incoming) -> Self {
        let headers = &parts.headers;
        Self {
            crossing: parts.version == Version::HTTP_11
                && headers.contains_key(UPGRADE)
                && body.is_end_stream(),
            echoed: echoed(headers),
            grpc: parts.version == Version::HTTP_2 && headers.get(CONTENT_TYPE).is_some_and(is_grpc),
            reader: cors::reader(&client.thread.state.shared.sites, headers),
        }
    }
}

impl Client {
    pub(super) fn new(thread: Arc<Thread>, gate: Option<Arc<Gate>>, peer: IpAddr) -> Self {
        let peer = peer.to_canonical();
        let trusted = thread.state.shared.trusted.include(peer);
        let peer_header = address_header(peer);
        Self { thread, gate, peer, trusted, peer_header, last_token: LastToken::default() }
    }

    /// Answers one request. What fails is an answer too.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Infallible> {
        let id = self.thread.next_id();
        let (parts, body) = request.into_parts();
        let about = About::of(&self, &parts, &body);
        let plan = self.thread.plan.load_full();
        let outcome = match self.place(&plan, &parts, about.reader.as_ref()) {
            // Here and not in a function of its own: what is awaited in another is stored once more.
            Ok(Place::Route(route)) => {
                let trace = spans::answering(self.trusted, route, &parts.headers);
                let outcome = match self.decide(&id, route, &parts, trace.as_deref()).await {
                    Ok(permit) => match self.prepare(&id, &plan, route, permit, parts, body) {
                        Ok((upstream, mut request, outgoing)) => {
                            let asked =
                                spans::asking(trace.as_deref(), upstream, route, request.headers_mut());
                            let transfer = outgoing.transfer.as_deref();
                            let still = Still::of(&self.thread.state, outgoing.token.as_deref());
                            let sent = forward::send(upstream, request, transfer, still).await;
                            if let (Some(asked), Err(_)) = (asked, &sent) {
                                asked.record("otel.status_code", "ERROR");
                            }
                            self.deliver(&id, route, sent, outgoing)
                        }
                        Err(problem) => Err(problem),
                    },
                    Err(problem) => Err(problem),
                };
                if let Some(trace) = trace {
                    traces::answered(&trace, outcome.as_ref().map_or_else(Problem::status, Response::status));
                }
                outcome
            }
            Ok(Place::Own) => Box::pin(self.own(&id, parts, body)).await,
            Ok(Place::Preflight(response)) => Ok(*response),
            Err(problem) => Err(problem),
        };
        Ok(self.finish(&id, about, outcome))
    }

    /// What every answer has, whoever gave it.
    fn finish(
        &self,
        id: &RequestId,
        about: About,
        outcome: Result<Response<Source>, Problem>,
    ) -> Response<AnswerBody> {
        // That of a refusal, also where gRPC is told it otherwise.
        let status = outcome.as_ref().map_or_else(Problem::status, Response::status);
        let mut response = match outcome {
            Ok(response) => response,
            Err(problem) if about.grpc => problem.render_grpc().map(|_| Source::Empty),
            Err(problem) => problem.render(id.as_str()).map(Source::Whole),
        };
        if let Some(gate) = self.gate.as_ref().filter(|_| about.crossing) {
            gate.crossed(response.status() == StatusCode::SWITCHING_PROTOCOLS);
        }
        self.thread.counters.answered(status);
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, about.echoed.unwrap_or_else(|| id.header()));
        if let Some(reader) = about.reader {
            reader.allow(headers);
        }
        let gate = self.gate.clone();
        response.map(|source| AnswerBody::new(source, gate))
    }

    /// Whose a request is, if it can be anybody's.
    fn place<'a>(
        &self,
        plan: &'a Plan,
        parts: &Parts,
        reader: Option<&cors::Reader>,
    ) -> Result<Place<'a>, Problem> {
        if parts.method.as_str() == MARKER {
            self.thread.counters.malformed();
            let refused = Refused::from_path(parts.uri.path());
            return Err(refused.map_or(Problem::new(catalogue::REQUEST_MALFORMED), Refused::problem));
        }
        let routes = plan.routes();
        let host = host(parts)?;
        let path = parts.uri.path();
        match parts.method {
            // What TRACE answers is the request, credentials and all, for any script to read (RFC 9110 §9.3.8).
            Method::TRACE | Method::CONNECT => return Err(catalogue::METHOD_UNSUPPORTED.into()),
            // Of the server as a whole, not of a path (RFC 9110 §9.3.7).
            Method::OPTIONS if path == "*" => {
                return Ok(Place::Preflight(Box::new(options::of_the_server())));
            }
            _ => {}
        }
        let plain = path::check(path, routes.spellings())
            .map_err(|ambiguous| Problem::new(catalogue::PATH_AMBIGUOUS).detail(ambiguous.0))?;
        if parts.uri.query().is_some_and(path::has_token) {
            return Err(catalogue::TOKEN_IN_QUERY.into());
        }
        let found = match self.thread.surface {
            Surface::Public => routes.find(host, path, &parts.method),
            Surface::Internal => Found::Own,
        };
        if let Some(reader) = reader.filter(|_| cors::is_preflight(&parts.method, &parts.headers)) {
            return match found {
                Found::Nothing => Err(catalogue::NOT_FOUND.into()),
                _ => Ok(Place::Preflight(Box::new(options::preflight(reader, &parts.headers)))),
            };
        }
        let slash_allowed = matches!(found, Found::Route(route) if route.allow_encoded_slash);
        if plain.encoded_slash && !slash_allowed {
            return Err(Problem::new(catalogue::PATH_AMBIGUOUS).detail("It has an encoded slash."));
        }
        match found {
            Found::Route(route) => Ok(Place::Route(route)),
            Found::Own => Ok(Place::Own),
            Found::NotThisMethod(allow) => {
                Err(Problem::new(catalogue::METHOD_NOT_ALLOWED).header(ALLOW, allow))
            }
            Found::Nothing => Err(catalogue::NOT_FOUND.into()),
        }
    }

    /// Whether a request may go on to an application.
    async fn decide(
        &self,
        id: &RequestId,
        route: &Route,
        parts: &Parts,
        trace: Option<&Span>,
    ) -> Result<Permit, Problem> {
        let state = &self.thread.state;
        let request = authorize::Request {
            method: &parts.method,
            headers: &parts.headers,
            path: parts.uri.path(),
            request_id: id.as_str(),
        };
        let reached = || self.reached(parts).ok()?.origin();
        let decision = match authorize::at_once(state, &self.last_token, route, &request, reached) {
            Quick::Decided(decision) => decision,
            Quick::Ask(credential) => {
                let asking = authorize::asking(state, route, request, credential);
                Box::pin(asking.instrument(trace.cloned().unwrap_or_else(Span::none))).await
            }
        };
        decision.map_err(|refusal| {
            self.record(id, route, &refusal, parts);
            refusal.problem
        })
    }

    /// The gateway's own endpoints. Off the fast path: boxed, routed and buffered as they like.
    async fn own(
        &self,
        id: &RequestId,
        mut parts: Parts,
        body: Incoming,
    ) -> Result<Response<Source>, Problem> {
        if !self.trusted {
            headers::TRACE_CONTEXT.iter().for_each(|name| drop(parts.headers.remove(*name)));
        }
        let limits = &self.thread.state.shared.config.limits;
        let caller = match self.reached(&parts) {
            Ok(reached) => Caller {
                request_id: id.clone(),
                address: reached.client,
                reached: reached.origin().map(Arc::new),
            },
            Err(_) => Caller { request_id: id.clone(), address: self.peer, reached: None },
        };
        let (body, transfer) = RequestBody::new(body, limits.body_bytes, limits.body_timeout);
        let mut request = Request::from_parts(parts, axum::body::Body::new(body));
        request.extensions_mut().insert(caller);
        let response = match self.thread.own.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        // Whoever read it could only tell that it broke off.
        match transfer.and_then(|transfer| transfer.fault()) {
            Some(fault) => Err(forward::Failure::Body(fault).problem()),
            None => Ok(response.map(Source::Own)),
        }
    }

    fn reached<'a>(&self, parts: &'a Parts) -> Result<Reached<'a>, Problem> {
        let host = host(parts)?;
        if !self.trusted {
            return Ok(Reached { client: self.peer, https: self.thread.https, host: host.into() });
        }
        let forwarded = self.thread.state.shared.trusted.forwarded(self.peer, &parts.headers);
        Ok(Reached {
            client: forwarded.client,
            https: forwarded.https.unwrap_or(self.thread.https),
            host: forwarded.host.unwrap_or(host).into(),
        })
    }

    /// One line for each request that was not let through.
    #[cold]
    fn record(&self, id: &RequestId, route: &Route, refusal: &Refusal, parts: &Parts) {
        if !matches!(refusal.problem.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return;
        }
        let address = self.reached(parts).map_or(self.peer, |reached| reached.client);
        let mut record = Record::refused("refusal", refusal.problem.code().code())
            .address(address)
            .request_id(id)
            .route(&route.pattern);
        if let Some(subject) = &refusal.subject {
            record = record.subject(subject);
        }
        record.emit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_of<A, B, F>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// It is moved with each request: what is rare is boxed, so that this stays small.
    #[test]
    fn a_request_is_small() {
        let size = future_of(Client::answer);
        // Two pointers of it are the spans', where there are any; seven what is looked at again after a wait.
        assert!(size <= 2616, "{size} bytes");
    }
}
