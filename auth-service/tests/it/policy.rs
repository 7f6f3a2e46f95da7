//! policy-service as far as auth-service asks it: over real gRPC and mutual TLS, with answers that a test chooses.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use chassis::{
    grpc::{AccessTable, server::Server},
    lifecycle::Lifecycle,
};
use proto::policy::v1::{
    self as wire,
    policy_read_service_server::{PolicyReadService, PolicyReadServiceServer},
};
use tonic::{Request, Response, Status};

use crate::authority::Authority;

const ACCESS: AccessTable = &[("/latchkey.policy.v1.PolicyReadService/GetSubjectRoles", &["auth"])];

/// What it answers.
#[derive(Clone, Default)]
pub struct FakePolicy(Arc<Mutex<Answers>>);

#[derive(Default)]
struct Answers {
    roles: HashMap<String, Vec<String>>,
    revision: u64,
    down: bool,
    asked: Vec<(wire::SubjectKind, String)>,
}

impl FakePolicy {
    pub async fn serve(authority: &Authority, lifecycle: &Lifecycle) -> (Self, SocketAddr) {
        let fake = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new("policy", &authority.identity("policy"), ACCESS, lifecycle.clone())
            .service(PolicyReadServiceServer::new(fake.clone()));
        lifecycle.spawn("policy", server.serve(listener));
        (fake, address)
    }

    pub fn grant(&self, subject: &str, roles: &[&str], revision: u64) {
        let mut answers = self.0.lock().unwrap();
        answers.roles.insert(subject.to_owned(), roles.iter().map(|role| (*role).to_owned()).collect());
        answers.revision = revision;
    }

    pub fn set_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    pub fn asked(&self) -> Vec<(wire::SubjectKind, String)> {
        self.0.lock().unwrap().asked.clone()
    }
}

#[tonic::async_trait]
impl PolicyReadService for FakePolicy {
    async fn get_subject_roles(
        &self,
        request: Request<wire::GetSubjectRolesRequest>,
    ) -> Result<Response<wire::GetSubjectRolesResponse>, Status> {
        let subject = request.into_inner().subject.unwrap();
        let mut answers = self.0.lock().unwrap();
        if answers.down {
            return Err(Status::unavailable("down"));
        }
        answers.asked.push((subject.kind(), subject.id.clone()));
        let roles = answers.roles.get(&subject.id).cloned().unwrap_or_default();
        let revision = answers.revision;
        Ok(Response::new(wire::GetSubjectRolesResponse { roles, revision, ..Default::default() }))
    }

    async fn get_role(
        &self,
        _: Request<wire::GetRoleRequest>,
    ) -> Result<Response<wire::GetRoleResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_roles(
        &self,
        _: Request<wire::ListRolesRequest>,
    ) -> Result<Response<wire::ListRolesResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_grants(
        &self,
        _: Request<wire::ListGrantsRequest>,
    ) -> Result<Response<wire::ListGrantsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_groups(
        &self,
        _: Request<wire::ListGroupsRequest>,
    ) -> Result<Response<wire::ListGroupsResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}
