//! The guard as a layer of tower.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, header::CONTENT_TYPE};
use tower_layer::Layer;
use tower_service::Service;

use super::Guard;

/// Puts a guard in front of a service.
#[derive(Debug, Clone)]
pub struct GuardLayer {
    guard: Guard,
}

/// A service behind a guard: it is called only with requests whose principal is known, which is in their extensions as an
/// `Arc<Principal>`. All others are answered here, with an empty body ([`super::Denied`]).
#[derive(Debug, Clone)]
pub struct GuardService<S> {
    guard: Guard,
    inner: S,
}

impl GuardLayer {
    pub(super) fn new(guard: Guard) -> Self {
        Self { guard }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> GuardService<S> {
        GuardService { guard: self.guard.clone(), inner }
    }
}

impl<S, Body, Answer> Service<Request<Body>> for GuardService<S>
where
    S: Service<Request<Body>, Response = Response<Answer>, Future: Send> + Clone + Send + 'static,
    Body: Send + 'static,
    Answer: Default,
{
    type Response = Response<Answer>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that said it is ready is the one to be called.
        let another = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, another);
        let guard = self.guard.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match guard.authenticate(&parts.headers).await {
                Ok(principal) => {
                    parts.extensions.insert(principal);
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(denied) => {
                    tracing::debug!(reason = %denied, "a request was refused");
                    Ok(if is_grpc(&parts.headers) { denied.grpc() } else { denied.http() })
                }
            }
        })
    }
}

/// `application/grpc`, and with `+proto` and the like. gRPC-Web is not: its clients read the HTTP status.
fn is_grpc(headers: &HeaderMap) -> bool {
    let of = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let rest = of.and_then(|of| of.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}
