//! Reads about roles, grants and groups.

use proto::policy::v1 as wire;
use proto::policy::v1::policy_read_service_server::PolicyReadService;
use tonic::{Request, Response, Status};

use super::page::{next, page};
use super::{Behind, message, status};
use crate::domain::{At, GrantFilter, GrantId, GroupName, RoleName, SubjectRoles};
use crate::flows;

/// Answers reads.
pub struct Reads(pub Behind);

#[tonic::async_trait]
impl PolicyReadService for Reads {
    async fn get_subject_roles(
        &self,
        request: Request<wire::GetSubjectRolesRequest>,
    ) -> Result<Response<wire::GetSubjectRolesResponse>, Status> {
        let wire::GetSubjectRolesRequest { subject, at_least } = request.into_inner();
        let principal = message::principal("subject", subject)?;
        let at_least = self.0.at_least(at_least)?;
        let At { value: SubjectRoles { roles, permissions, within }, revision } =
            flows::subject_roles::subject_roles(self.0.store.as_ref(), &principal, at_least)
                .await
                .map_err(|error| status::of_read(&error))?;
        self.0.must_have_right()?;
        Ok(Response::new(wire::GetSubjectRolesResponse {
            roles: roles.iter().map(ToString::to_string).collect(),
            permissions: permissions.iter().map(ToString::to_string).collect(),
            within: within.into_iter().map(message::to_grant).collect(),
            revision: revision.0,
        }))
    }

    async fn get_role(
        &self,
        request: Request<wire::GetRoleRequest>,
    ) -> Result<Response<wire::GetRoleResponse>, Status> {
        let wire::GetRoleRequest { name } = request.into_inner();
        let name = message::role_name("name", &name)?;
        let role = flows::get_role::get_role(self.0.store.as_ref(), &name)
            .await
            .map_err(|error| status::of_get_role(&error))?;
        Ok(Response::new(wire::GetRoleResponse { role: Some(message::to_role(role)) }))
    }

    async fn list_roles(
        &self,
        request: Request<wire::ListRolesRequest>,
    ) -> Result<Response<wire::ListRolesResponse>, Status> {
        let wire::ListRolesRequest { page_size, page_token } = request.into_inner();
        let page = page("roles", page_size, &page_token, RoleName::parse)?;
        let slice = flows::list::roles(self.0.store.as_ref(), &page)
            .await
            .map_err(|error| status::of_store(&error))?;
        let next_page_token = next("roles", slice.more, slice.entries.last().map(|role| role.name.as_str()));
        let roles = slice.entries.into_iter().map(message::to_role).collect();
        Ok(Response::new(wire::ListRolesResponse { roles, next_page_token }))
    }

    async fn list_grants(
        &self,
        request: Request<wire::ListGrantsRequest>,
    ) -> Result<Response<wire::ListGrantsResponse>, Status> {
        let wire::ListGrantsRequest { subject, role, page_size, page_token } = request.into_inner();
        let subject = subject.map(|subject| message::subject("subject", Some(subject))).transpose()?;
        let role = if role.is_empty() { None } else { Some(message::role_name("role", &role)?) };
        let page = page("grants", page_size, &page_token, GrantId::parse)?;
        let slice = flows::list::grants(self.0.store.as_ref(), &GrantFilter { subject, role }, &page)
            .await
            .map_err(|error| status::of_store(&error))?;
        let next_page_token = next("grants", slice.more, slice.entries.last().map(|grant| grant.id.as_str()));
        let grants = slice.entries.into_iter().map(message::to_grant).collect();
        Ok(Response::new(wire::ListGrantsResponse { grants, next_page_token }))
    }

    async fn list_groups(
        &self,
        request: Request<wire::ListGroupsRequest>,
    ) -> Result<Response<wire::ListGroupsResponse>, Status> {
        let wire::ListGroupsRequest { page_size, page_token } = request.into_inner();
        let page = page("groups", page_size, &page_token, GroupName::parse)?;
        let slice = flows::list::groups(self.0.store.as_ref(), &page)
            .await
            .map_err(|error| status::of_store(&error))?;
        let next_page_token =
            next("groups", slice.more, slice.entries.last().map(|group| group.name.as_str()));
        let groups = slice.entries.into_iter().map(message::to_group).collect();
        Ok(Response::new(wire::ListGroupsResponse { groups, next_page_token }))
    }
}
