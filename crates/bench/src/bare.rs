//! The least that a tonic server can do: the answers that session-service and auth-service give, out of its memory. Mutual TLS
//! with the same certificates, and nothing around the call: no access table, no deadline, no metrics.

use std::{net::SocketAddr, path::Path};

use proto::auth::v1 as auth;
use proto::auth::v1::token_read_service_server::{TokenReadService, TokenReadServiceServer};
use proto::session::v1 as wire;
use proto::session::v1::session_service_server::{SessionService, SessionServiceServer};
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Identity, ServerTlsConfig},
};

use crate::process::{Server, free_address};

struct Bare(wire::Session);

#[tonic::async_trait]
impl SessionService for Bare {
    async fn resolve_session(
        &self,
        _: Request<wire::ResolveSessionRequest>,
    ) -> Result<Response<wire::ResolveSessionResponse>, Status> {
        let session = Some(self.0.clone());
        Ok(Response::new(wire::ResolveSessionResponse { session, current_secret: String::new() }))
    }

    async fn create_session(
        &self,
        _: Request<wire::CreateSessionRequest>,
    ) -> Result<Response<wire::CreateSessionResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn rotate_session(
        &self,
        _: Request<wire::RotateSessionRequest>,
    ) -> Result<Response<wire::RotateSessionResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn end_session(
        &self,
        _: Request<wire::EndSessionRequest>,
    ) -> Result<Response<wire::EndSessionResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn end_other_sessions(
        &self,
        _: Request<wire::EndOtherSessionsRequest>,
    ) -> Result<Response<wire::EndOtherSessionsResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

struct BareTokens(auth::IntrospectResponse);

#[tonic::async_trait]
impl TokenReadService for BareTokens {
    async fn introspect(
        &self,
        _: Request<auth::IntrospectRequest>,
    ) -> Result<Response<auth::IntrospectResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn get_key_set(
        &self,
        _: Request<auth::GetKeySetRequest>,
    ) -> Result<Response<auth::GetKeySetResponse>, Status> {
        Err(Status::unimplemented(""))
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
    let active = auth::IntrospectResponse {
        active: true,
        subject: format!("cli_{}", "a".repeat(26)),
        client_id: format!("cli_{}", "a".repeat(26)),
        audience: "latchkey".into(),
        issuer: "http://127.0.0.1:8080".into(),
        token_type: "Bearer".into(),
        jti: format!("tok_{}", "a".repeat(26)),
        expires_at: Some(now),
        issued_at: Some(now),
        ..auth::IntrospectResponse::default()
    };
    // As the services have it.
    let runtime = chassis::process::runtime()?;
    let server = tonic::transport::Server::builder()
        .tls_config(tls)?
        .add_service(SessionServiceServer::new(Bare(session)))
        .add_service(TokenReadServiceServer::new(BareTokens(active)));
    Ok(runtime.block_on(server.serve(listen))?)
}
