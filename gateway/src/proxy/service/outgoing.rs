//! What goes to an application, and what comes back from it: headers above all.

use std::sync::Arc;

use guard::Verified;
use http::header::{CACHE_CONTROL, CONNECTION, HOST, SET_COOKIE, TE, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::Client;
use crate::layers::address::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO};
use crate::layers::caller::RequestId;
use crate::layers::headers::{self, Credential, REQUEST_ID};
use crate::layers::identity::Identity;
use crate::problem::{Problem, catalogue};
use crate::proxy::authorize::Permit;
use crate::proxy::body::Source;
use crate::proxy::forward;
use crate::proxy::plan::Plan;
use crate::proxy::pool::Upstream;
use crate::proxy::reached::address_header;
use crate::proxy::transfer::{RequestBody, Transfer};
use crate::proxy::tunnel;
use crate::routing::{Protocol, Route};

/// How many headers a request gets from us, at most.
const ADDED_HEADERS: usize = 10;

/// Marks an answer to somebody who may have been logged out meanwhile: the route's `stale_for` was made use of.
const STALE: HeaderName = HeaderName::from_static("x-latchkey-stale");

/// What is needed once the application has answered.
pub(super) struct Outgoing {
    pub(super) transfer: Option<Arc<Transfer>>,
    /// The client's side, where it asked to leave HTTP.
    client: Option<OnUpgrade>,
    cookie: Option<HeaderValue>,
    is_stale: bool,
    pub(super) token: Option<Arc<Verified<Identity>>>,
}

impl Client {
    /// The request for the application, and what is needed once it has answered.
    pub(super) fn prepare<'a>(
        &self,
        id: &RequestId,
        plan: &'a Plan,
        route: &Route,
        mut permit: Permit,
        mut parts: Parts,
        body: Incoming,
    ) -> Result<(&'a Upstream, Request<RequestBody>, Outgoing), Problem> {
        let upstream = plan.upstream(route).ok_or(catalogue::INTERNAL)?;
        let limits = &self.thread.state.shared.config.limits;
        let body_bytes = route.body_bytes.unwrap_or(limits.body_bytes);
        if body.size_hint().lower() > body_bytes {
            return Err(catalogue::BODY_TOO_LARGE.into());
        }
        let protocol = upstream.rule().protocol;
        // Nothing can leave HTTP over a connection that others share.
        let upgrade = match parts.headers.contains_key(UPGRADE) {
            true if protocol == Protocol::Http1 => forward::wants_upgrade(&parts, &body),
            _ => None,
        };
        let trailers = protocol == Protocol::Http2 && headers::takes_trailers(&parts.headers);
        let client = upgrade.as_ref().and_then(|_| parts.extensions.remove::<OnUpgrade>());
        self.write_headers(id, route, &permit, &mut parts)?;
        if let Some(asked) = &upgrade {
            forward::ask_upgrade(&mut parts.headers, asked);
        }
        if trailers {
            // gRPC insists on it.
            parts.headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        let (body, transfer) = RequestBody::new(body, body_bytes, limits.body_timeout);
        let request = forward::head(parts, route.strip, protocol, body);
        let (cookie, is_stale) = (permit.take_cookie(), permit.is_stale());
        let outgoing = Outgoing { transfer, client, cookie, is_stale, token: permit.into_token() };
        Ok((upstream, request, outgoing))
    }

    /// An application's answer, as the client gets it.
    pub(super) fn deliver(
        &self,
        id: &RequestId,
        route: &Route,
        sent: Result<forward::Answer, forward::Failure>,
        outgoing: Outgoing,
    ) -> Result<Response<Source>, Problem> {
        let mut answer = sent.map_err(|failure| self.failed(id, route, &failure))?;
        if let Some(transfer) = &outgoing.transfer {
            transfer.answered();
        }
        if answer.retried {
            self.thread.counters.retried();
        }
        let switched = if forward::is_switch(&answer.response) {
            let application = answer.response.extensions_mut().remove::<OnUpgrade>();
            let both = outgoing.client.zip(application);
            // Without having been asked, if not both.
            Some(both.ok_or_else(|| self.failed(id, route, &forward::Failure::Switched))?)
        } else {
            None
        };
        let protocol = switched.as_ref().and_then(|_| answer.response.headers().get(UPGRADE).cloned());
        headers::clean_response(answer.response.headers_mut());
        if outgoing.is_stale {
            self.mark_stale(id, route, answer.response.headers_mut());
        }
        if let Some(cookie) = outgoing.cookie {
            let headers = answer.response.headers_mut();
            headers.append(SET_COOKIE, cookie);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        let Some((client, application)) = switched else { return Ok(answer.into_response()) };
        let (mut response, lease) = answer.into_switch();
        tunnel::open(&self.thread.tasks, self.thread.ended.clone(), client, application, lease);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            response.headers_mut().insert(UPGRADE, protocol);
        }
        Ok(response)
    }

    #[cold]
    fn mark_stale(&self, id: &RequestId, route: &Route, answer: &mut HeaderMap) {
        self.thread.counters.stale();
        tracing::warn!(
            request_id = id.as_str(),
            route = route.pattern.as_str(),
            "a stale answer: there is no lease"
        );
        answer.insert(STALE, HeaderValue::from_static("true"));
    }

    /// Written down once, here, if it is the application's failure.
    #[cold]
    fn failed(&self, id: &RequestId, route: &Route, failure: &forward::Failure) -> Problem {
        if failure.is_upstream() {
            self.thread.counters.upstream_failed();
            tracing::warn!(request_id = id.as_str(), route = route.pattern.as_str(), %failure, "no answer");
        }
        failure.problem()
    }

    /// The headers that an application sees: the client's, less what is not for it or not the client's to say, and
    /// ours. The order matters: `Connection` has been followed before ours are added.
    fn write_headers(
        &self,
        id: &RequestId,
        route: &Route,
        permit: &Permit,
        parts: &mut Parts,
    ) -> Result<(), Problem> {
        let (forwarded_for, https, forwarded_host) = if self.trusted {
            let reached = self.reached(parts)?;
            (address_header(reached.client), reached.https, HeaderValue::from_str(&reached.host).ok())
        } else {
            let host = parts.headers.get(HOST).cloned();
            let host = host.or_else(|| HeaderValue::from_str(parts.uri.authority()?.as_str()).ok());
            (self.peer_header.clone(), self.thread.https, host)
        };
        let credential = match (route.pass_credential, route.accept.is_empty()) {
            (true, _) => Credential::Pass,
            (false, true) => Credential::StripOurs,
            (false, false) => Credential::Strip,
        };
        let headers = &mut parts.headers;
        headers::clean_request(headers, credential, self.trusted);
        // Once, for all that is added below.
        headers.reserve(ADDED_HEADERS);
        if route.identity {
            permit.write(headers);
        }
        headers.insert(REQUEST_ID, id.header());
        headers.insert(FORWARDED_FOR, forwarded_for);
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if https { "https" } else { "http" }));
        if let Some(host) = forwarded_host {
            headers.insert(FORWARDED_HOST, host);
        }
        Ok(())
    }
}
