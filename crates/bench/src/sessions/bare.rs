//! The least that a tonic server can do: the answer that session-service gives, out of its memory. Mutual TLS with the same
//! certificates, and nothing around the call: no access table, no deadline, no metrics.

use std::{net::SocketAddr, path::Path};

use proto::session::v1 as wire;
use proto::session::v1::session_service_server::{SessionService, SessionServiceServer};
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

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
        user_agent: super::store::USER_AGENT.into(),
        client_address: "192.0.2.1".into(),
        ..wire::Session::default()
    };
    // As session-service has it.
    let runtime = chassis::process::runtime()?;
    let server = Server::builder().tls_config(tls)?.add_service(SessionServiceServer::new(Bare(session)));
    Ok(runtime.block_on(server.serve(listen))?)
}
