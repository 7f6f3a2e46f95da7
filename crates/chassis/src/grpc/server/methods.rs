//! What a server answers, by method: who may call it, what answers it, and its figures.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::figures::{Figures, Instruments};
use crate::grpc::access::{self, AccessTable};

pub(super) const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// Answers a call of any method of one service.
pub(super) type Handler = Arc<dyn Fn(Request<Body>) -> Answer + Send + Sync>;

/// As the services that tonic generates have it.
pub(crate) type Answer = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// The services of a server, by their full names (`latchkey.auth.v1.LoginService`).
#[derive(Default)]
pub(super) struct Services(BTreeMap<&'static str, Handler>);

/// What the access table lists.
pub(super) struct Methods {
    listed: BTreeMap<&'static str, Listed>,
    admitted: Vec<String>,
}

struct Listed {
    callers: &'static [&'static str],
    method: Arc<Method>,
}

pub(super) struct Method {
    /// `/latchkey.auth.v1.LoginService/Login`
    pub(super) name: &'static str,
    pub(super) handler: Handler,
    /// `None`: health checks. Every caller makes them all the time, and they say nothing about use.
    pub(super) figures: Option<Figures>,
}

impl Services {
    /// Not tonic's router, which is axum's: to find one of a few services it takes a request apart and puts it together again, and the
    /// answer too.
    pub(super) fn add<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = Answer>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        // Always ready: services hold no state to wait for.
        self.0.insert(S::NAME, Arc::new(move |request| service.clone().call(request)));
    }

    fn handler(&self, method: &str) -> Handler {
        let service = method.trim_start_matches('/').split('/').next().unwrap_or_default();
        self.0.get(service).cloned().unwrap_or_else(|| Arc::new(|_| unimplemented().boxed()))
    }
}

/// Listed, and not served here.
async fn unimplemented() -> Result<Response<Body>, Infallible> {
    Ok(Status::unimplemented("").into_http())
}

impl Methods {
    pub(super) fn new(
        services: &Services,
        table: AccessTable,
        admitted: Vec<String>,
        instruments: &Instruments,
    ) -> Methods {
        let listed = access::rows(table).map(|(name, callers)| {
            let figures = (name != HEALTH_CHECK).then(|| instruments.of(name));
            (
                name,
                Listed {
                    callers,
                    method: Arc::new(Method { name, handler: services.handler(name), figures }),
                },
            )
        });
        Methods { listed: listed.collect(), admitted }
    }

    /// The method with this path, if `caller` may call it.
    pub(super) fn allowed(&self, path: &str, caller: &str) -> Option<&Arc<Method>> {
        let listed = self.listed.get(path)?;
        access::allows(listed.callers, &self.admitted, caller).then_some(&listed.method)
    }
}
