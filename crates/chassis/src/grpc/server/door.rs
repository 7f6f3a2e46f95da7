//! What every call passes before any code of a service runs: the access table, an id, a deadline, a limit on its
//! messages. And what it passes on the way out: a panic becomes INTERNAL, a late answer DEADLINE_EXCEEDED.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::{Instrument as _, Span};

use super::figures::Figures;
use super::limit::MessageLimit;
use super::methods::{Answer, HEALTH_CHECK, Methods};
use crate::config;
use crate::entropy::{self, SystemEntropy};
use crate::grpc::context::{self, Known};
use crate::status;
use crate::telemetry::{Around, traces};

/// How long a refused caller may take for the rest of its message.
const DRAIN: Duration = Duration::from_secs(1);

/// The way in to a server's services.
pub(super) struct Door {
    methods: Methods,
    incarnation: Option<HeaderValue>,
    default_deadline: Duration,
    max_message_bytes: usize,
    unlisted: Figures,
}

impl Door {
    pub(super) fn new(
        methods: Methods,
        unlisted: Figures,
        settings: &config::Server,
        incarnation: Option<HeaderValue>,
    ) -> Door {
        Door {
            methods,
            incarnation,
            default_deadline: settings.default_deadline,
            max_message_bytes: settings.max_message_bytes,
            unlisted,
        }
    }

    /// Answers one call. Never fails: what goes wrong is a status.
    // Not `async`: what needs no waiting is done before, since all that such a future keeps is allocated and moved with each call.
    pub(super) fn answer(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        caller: Option<Arc<str>>,
    ) -> Answer {
        let began = tokio::time::Instant::now();
        let id = take_request_id(&mut request);
        let allowed = caller.as_ref().and_then(|caller| {
            Some((Arc::clone(self.methods.allowed(request.uri().path(), caller)?), Arc::clone(caller)))
        });
        let Some((method, caller)) = allowed else {
            return Box::pin(Arc::clone(self).refuse(request, id, caller, began));
        };
        // A health check is nobody's work.
        let trace = match method.name {
            HEALTH_CHECK => Span::none(),
            name => traces::answering(name.trim_start_matches('/'), request.headers()),
        };
        let around = around(method.name, &id, Some(&caller), traces::id(&trace));
        let sent = request.headers().get("grpc-timeout").and_then(|value| value.to_str().ok());
        let timeout = sent.and_then(context::parse_timeout).unwrap_or(self.default_deadline);
        // `Instant + Duration` panics on what a caller may send (99,999,999 hours is fine, but let it not depend on it).
        let deadline = began.checked_add(timeout).unwrap_or(began + self.default_deadline);
        request.extensions_mut().insert(Known { caller, request_id: id, deadline });
        let request = request.map(|body| Body::new(MessageLimit::new(body, self.max_message_bytes)));

        // This is on the connection's own task, whose panic would be that of all its calls.
        let answer = catch_unwind(AssertUnwindSafe(|| (method.handler)(request)));
        let answer = answer.unwrap_or_else(|_panic| Box::pin(async { Ok(panicked().into_http()) }));
        let call = within(deadline, answer);
        let call = around.future(call).instrument(trace.clone());
        let incarnation = (method.name == HEALTH_CHECK).then(|| self.incarnation.clone()).flatten();
        Box::pin(async move {
            let mut response = call.await.unwrap_or_else(Status::into_http);
            if let Some(incarnation) = incarnation {
                response.headers_mut().insert(context::INCARNATION, incarnation);
            }
            let code = response
                .headers()
                .get("grpc-status")
                .map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()));
            if matches!(code, Code::Unknown | Code::Internal | Code::DataLoss | Code::Unavailable) {
                trace.record("otel.status_code", "ERROR");
            }
            if let Some(figures) = &method.figures {
                figures.record(code, began.elapsed());
            }
            Ok(response)
        })
    }

    /// Answers a caller that the access table does not list for what it calls.
    async fn refuse(
        self: Arc<Self>,
        request: Request<Incoming>,
        id: Arc<str>,
        caller: Option<Arc<str>>,
        began: tokio::time::Instant,
    ) -> Result<Response<Body>, Infallible> {
        // The path is the caller's own words: neither a trace's nor a label.
        let method = request.uri().path().to_owned();
        around(method, &id, caller.as_ref(), None)
            .scope(|| tracing::info!("refused: the access table does not list this caller for this method"));
        let message = match caller {
            Some(name) => format!("{name} is not listed for this method"),
            None => "a certificate without a name of this domain is not listed for any method".to_owned(),
        };
        let status = status::refusal(Code::PermissionDenied, "CALLER_NOT_LISTED", message);
        self.unlisted.record(Code::PermissionDenied, began.elapsed());
        drain(request.into_body(), self.max_message_bytes).await;
        Ok(status.into_http())
    }
}

/// The answer, unless it panics or does not come in time.
async fn within(deadline: tokio::time::Instant, answer: Answer) -> Result<Response<Body>, Status> {
    match tokio::time::timeout_at(deadline, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(Ok(response))) => Ok(response),
        Ok(Ok(Err(never))) => match never {},
        Ok(Err(_panic)) => Err(panicked()),
        Err(_elapsed) => {
            tracing::info!("the deadline passed before the answer");
            Err(status::refusal(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline has passed"))
        }
    }
}

/// The hook has logged where. What it carried may quote the request, and goes nowhere.
fn panicked() -> Status {
    tracing::error!("a handler panicked");
    status::refusal(Code::Internal, "INTERNAL", "internal error")
}

fn around(
    method: impl Into<Cow<'static, str>>,
    request_id: &Arc<str>,
    caller: Option<&Arc<str>>,
    trace_id: Option<String>,
) -> Around {
    let (request_id, caller) = (Arc::clone(request_id), caller.map(Arc::clone));
    Around { method: Some(method.into()), request_id, caller, trace_id }
}

/// Reads what the caller still sends, about a message's worth and for a moment at most. An answer to a request that is
/// under way resets its stream (RFC 9113 §8.1), and there are clients that then report the reset and not the answer.
async fn drain(body: Incoming, limit: usize) {
    let mut body = pin!(body);
    let all = async {
        let mut read = 0;
        while read <= limit
            && let Some(Ok(frame)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await
        {
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // In time or not: what else there is to do is to answer.
    let _ = tokio::time::timeout(DRAIN, all).await;
}

/// The caller's id for the request if it sent a usable one, else a new one; put where handlers find it either way.
fn take_request_id(request: &mut Request<Incoming>) -> Arc<str> {
    let sent = request.headers().get(context::REQUEST_ID).and_then(|value| value.to_str().ok());
    match sent.filter(|id| context::is_request_id(id)) {
        Some(id) => id.into(),
        None => {
            let id = entropy::id(&SystemEntropy, "req_");
            if let Ok(value) = HeaderValue::from_str(&id) {
                request.headers_mut().insert(context::REQUEST_ID, value);
            }
            id.into()
        }
    }
}
