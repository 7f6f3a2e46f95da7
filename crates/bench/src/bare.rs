//! The least that a tonic server can do: the answers that session-service and auth-service give, out of its memory. Mutual TLS
//! with the same certificates, and nothing around the call: no access table, no deadline, no metrics. tonic and its codec are as they
//! come.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::{net::SocketAddr, path::Path, sync::Arc, task};

use futures_util::future::BoxFuture;
use proto::auth::v1::{IntrospectRequest, IntrospectResponse, token_read_service_server as tokens};
use proto::session::v1 as wire;
use proto::session::v1::{ResolveSessionRequest, ResolveSessionResponse, session_service_server as sessions};
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::{Certificate, Identity, ServerTlsConfig},
};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::process::{Server, free_address};

/// A service that answers `A` to every `Q`.
struct Bare<Q, A>(Arc<A>, PhantomData<fn(Q)>);

impl<Q, A> Bare<Q, A> {
    fn new(answer: A) -> Self {
        Self(Arc::new(answer), PhantomData)
    }
}

impl<Q, A> Clone for Bare<Q, A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl NamedService for Bare<ResolveSessionRequest, ResolveSessionResponse> {
    const NAME: &'static str = sessions::SERVICE_NAME;
}

impl NamedService for Bare<IntrospectRequest, IntrospectResponse> {
    const NAME: &'static str = tokens::SERVICE_NAME;
}

impl<Q, A: Clone> UnaryService<Q> for Bare<Q, A> {
    type Response = A;
    type Future = Ready<Result<Response<A>, Status>>;

    fn call(&mut self, _: Request<Q>) -> Self::Future {
        ready(Ok(Response::new((*self.0).clone())))
    }
}

impl<Q, A> Service<http::Request<Body>> for Bare<Q, A>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Clone + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::<A, Q>::default()).unary(method, request).await) })
    }
}

/// A bare server of its own on this core, ready to be called.
pub fn start(core: usize, certificates: &Path, log: &Path) -> anyhow::Result<(Server, SocketAddr)> {
    let address = free_address()?;
    let arguments =
        ["bare", "--listen", &address.to_string(), "--certificates", &certificates.display().to_string()];
    let arguments = arguments.map(str::to_owned);
    Ok((Server::start(core, &std::env::current_exe()?, &arguments, address, log)?, address))
}

/// Until the process is ended.
pub fn serve(listen: SocketAddr, certificates: &Path) -> anyhow::Result<()> {
    let read = |name: &str| std::fs::read(certificates.join(name));
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(read("session.crt")?, read("session.key")?))
        .client_ca_root(Certificate::from_pem(read("ca.crt")?));
    let now = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_000_000 };
    let session = wire::Session {
        id: format!("ses_{}", "a".repeat(26)),
        subject: format!("usr_{}", "a".repeat(26)),
        username: "user-1000000".into(),
        epoch: 1,
        methods: vec!["pwd".into()],
        authenticated_at: Some(now),
        created_at: Some(now),
        last_active_at: Some(now),
        idle_expires_at: Some(now),
        absolute_expires_at: Some(now),
        user_agent: crate::sessions::USER_AGENT.into(),
        client_address: "192.0.2.1".into(),
        ..wire::Session::default()
    };
    let active = IntrospectResponse {
        active: true,
        subject: format!("cli_{}", "a".repeat(26)),
        client_id: format!("cli_{}", "a".repeat(26)),
        audience: "latchkey".into(),
        issuer: "http://127.0.0.1:8080".into(),
        token_type: "Bearer".into(),
        jti: format!("tok_{}", "a".repeat(26)),
        expires_at: Some(now),
        issued_at: Some(now),
        ..IntrospectResponse::default()
    };
    // As the services have it.
    let runtime = chassis::process::runtime()?;
    let server = tonic::transport::Server::builder()
        .tls_config(tls)?
        .add_service(Bare::new(ResolveSessionResponse {
            session: Some(session),
            current_secret: String::new(),
        }))
        .add_service(Bare::new(active));
    Ok(runtime.block_on(server.serve(listen))?)
}
