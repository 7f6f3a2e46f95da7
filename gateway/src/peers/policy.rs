//! policy-service over gRPC.

mod messages;

use std::time::Duration;

use async_trait::async_trait;
use chassis::grpc::client::Channel;
use proto::policy::v1 as rpc;
use rpc::check_service_client::CheckServiceClient;
use rpc::policy_admin_service_client::PolicyAdminServiceClient;
use rpc::policy_read_service_client::PolicyReadServiceClient;

use messages::{decided, grant_of, group_of, resource_to, role_of, subject_to};

use super::wire::{self, ADMINISTRATION, ENDING, answer, request};
use super::{
    Asker, Decided, Failure, Grant, Group, Page, PageRequest, Policy, Question, Resource, Role, Subject,
    SubjectRoles, Unavailable,
};

const PEER: &str = "policy";

pub struct PolicyService {
    check_timeout: Duration,
    checks: CheckServiceClient<Channel>,
    reads: PolicyReadServiceClient<Channel>,
    admin: PolicyAdminServiceClient<Channel>,
}

impl PolicyService {
    pub fn new(channel: Channel, check_timeout: Duration) -> Self {
        Self {
            check_timeout,
            checks: CheckServiceClient::new(channel.clone()),
            reads: PolicyReadServiceClient::new(channel.clone()),
            admin: PolicyAdminServiceClient::new(channel),
        }
    }
}

macro_rules! call {
    ($client:expr, $method:ident, $asker:expr, $timeout:expr, $message:expr) => {{
        let mut client = $client.clone();
        let request = request($asker, $timeout, $message);
        answer(PEER, $timeout, client.$method(request)).await
    }};
}

#[async_trait]
impl Policy for PolicyService {
    async fn check(&self, asker: Asker<'_>, question: Question) -> Result<Decided, Failure> {
        let message = rpc::CheckRequest {
            subject: Some(subject_to(question.subject)),
            permission: question.permission,
            resource: question.resource.map(resource_to),
            at_least: 0,
        };
        Ok(decided(call!(self.checks, check, asker, self.check_timeout, message)?)?)
    }

    async fn subject_roles(&self, asker: Asker<'_>, subject: Subject) -> Result<SubjectRoles, Unavailable> {
        let message = rpc::GetSubjectRolesRequest { subject: Some(subject_to(subject)), at_least: 0 };
        let reply = call!(self.reads, get_subject_roles, asker, self.check_timeout, message)
            .map_err(|no| no.outage(PEER))?;
        Ok(SubjectRoles {
            roles: reply.roles,
            permissions: reply.permissions,
            within: reply.within.into_iter().map(|grant| grant_of(Some(grant))).collect::<Result<_, _>>()?,
            revision: reply.revision,
        })
    }

    async fn role(&self, asker: Asker<'_>, name: &str) -> Result<Role, Failure> {
        let message = rpc::GetRoleRequest { name: name.to_owned() };
        Ok(role_of(call!(self.reads, get_role, asker, ADMINISTRATION, message)?.role)?)
    }

    async fn roles(&self, asker: Asker<'_>, page: PageRequest) -> Result<Page<Role>, Failure> {
        let message = rpc::ListRolesRequest { page_size: page.size, page_token: page.token };
        let reply = call!(self.reads, list_roles, asker, ADMINISTRATION, message)?;
        let items = reply.roles.into_iter().map(|role| role_of(Some(role))).collect::<Result<_, _>>()?;
        Ok(Page { items, next: reply.next_page_token })
    }

    async fn put_role(
        &self,
        asker: Asker<'_>,
        name: String,
        permissions: Vec<String>,
    ) -> Result<(Role, u64), Failure> {
        let role = rpc::Role { name, permissions, built_in: false };
        let message = rpc::PutRoleRequest { role: Some(role) };
        let reply = call!(self.admin, put_role, asker, ENDING, message)?;
        Ok((role_of(reply.role)?, reply.revision))
    }

    async fn delete_role(&self, asker: Asker<'_>, name: &str) -> Result<u64, Failure> {
        let message = rpc::DeleteRoleRequest { name: name.to_owned() };
        Ok(call!(self.admin, delete_role, asker, ENDING, message)?.revision)
    }

    async fn grants(
        &self,
        asker: Asker<'_>,
        subject: Option<Subject>,
        role: Option<&str>,
        page: PageRequest,
    ) -> Result<Page<Grant>, Failure> {
        let message = rpc::ListGrantsRequest {
            subject: subject.map(subject_to),
            role: role.unwrap_or_default().to_owned(),
            page_size: page.size,
            page_token: page.token,
        };
        let reply = call!(self.reads, list_grants, asker, ADMINISTRATION, message)?;
        let items = reply.grants.into_iter().map(|grant| grant_of(Some(grant))).collect::<Result<_, _>>()?;
        Ok(Page { items, next: reply.next_page_token })
    }

    async fn create_grant(
        &self,
        asker: Asker<'_>,
        subject: Subject,
        role: String,
        within: Option<Resource>,
    ) -> Result<(Grant, u64), Failure> {
        let message = rpc::CreateGrantRequest {
            subject: Some(subject_to(subject)),
            role,
            within: within.map(resource_to),
        };
        let reply = call!(self.admin, create_grant, asker, ENDING, message)?;
        Ok((grant_of(reply.grant)?, reply.revision))
    }

    async fn delete_grant(&self, asker: Asker<'_>, id: &str) -> Result<u64, Failure> {
        let message = rpc::DeleteGrantRequest { id: id.to_owned() };
        Ok(call!(self.admin, delete_grant, asker, ENDING, message)?.revision)
    }

    async fn groups(&self, asker: Asker<'_>, page: PageRequest) -> Result<Page<Group>, Failure> {
        let message = rpc::ListGroupsRequest { page_size: page.size, page_token: page.token };
        let reply = call!(self.reads, list_groups, asker, ADMINISTRATION, message)?;
        let items = reply.groups.into_iter().map(|group| group_of(Some(group))).collect::<Result<_, _>>()?;
        Ok(Page { items, next: reply.next_page_token })
    }

    async fn create_group(&self, asker: Asker<'_>, name: String) -> Result<(Group, u64), Failure> {
        let reply = call!(self.admin, create_group, asker, ENDING, rpc::CreateGroupRequest { name })?;
        Ok((group_of(reply.group)?, reply.revision))
    }

    async fn delete_group(&self, asker: Asker<'_>, name: &str) -> Result<u64, Failure> {
        let message = rpc::DeleteGroupRequest { name: name.to_owned() };
        Ok(call!(self.admin, delete_group, asker, ENDING, message)?.revision)
    }

    async fn add_member(&self, asker: Asker<'_>, group: &str, member: Subject) -> Result<u64, Failure> {
        let message =
            rpc::AddGroupMemberRequest { group: group.to_owned(), member: Some(subject_to(member)) };
        Ok(call!(self.admin, add_group_member, asker, ENDING, message)?.revision)
    }

    async fn remove_member(&self, asker: Asker<'_>, group: &str, member: Subject) -> Result<u64, Failure> {
        let message =
            rpc::RemoveGroupMemberRequest { group: group.to_owned(), member: Some(subject_to(member)) };
        Ok(call!(self.admin, remove_group_member, asker, ENDING, message)?.revision)
    }

    async fn forget_subject(&self, asker: Asker<'_>, subject: Subject) -> Result<u64, Failure> {
        let message = rpc::ForgetSubjectRequest { subject: Some(subject_to(subject)) };
        Ok(call!(self.admin, forget_subject, asker, ENDING, message)?.revision)
    }
}
