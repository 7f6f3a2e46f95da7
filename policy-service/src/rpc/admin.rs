//! Administration: every call ends with one audit line, and every write answers the revision at which it holds.

use std::collections::BTreeSet;

use chassis::status::{internal, invalid};
use proto::policy::v1 as wire;
use proto::policy::v1::policy_admin_service_server::PolicyAdminService;
use tonic::{Code, Request, Response, Status};

use super::audit::Line;
use super::{Behind, message, status};
use crate::domain::grant::ID_PREFIX;
use crate::domain::role::BUILT_IN;
use crate::domain::{GrantId, Group, GroupName, Subject};
use crate::flows;

/// Answers administration.
pub struct Admin(pub Behind);

impl Admin {
    async fn put_role(
        &self,
        line: &mut Line,
        request: wire::PutRoleRequest,
    ) -> Result<wire::PutRoleResponse, Status> {
        let wire::PutRoleRequest { role } = request;
        let Some(wire::Role { name, permissions, built_in }) = role else {
            return Err(invalid("role", "ROLE_INVALID", "must be set"));
        };
        let name = message::role_name("role.name", &name)?;
        line.subject(&name);
        if built_in && name.as_str() != BUILT_IN {
            return Err(invalid("role.built_in", "ROLE_INVALID", "a role cannot be made built-in"));
        }
        let mut patterns = BTreeSet::new();
        for (number, text) in permissions.iter().enumerate() {
            patterns.insert(message::pattern(&format!("role.permissions[{number}]"), text)?);
        }
        line.detail(format!("permissions={}", patterns.len()));
        let put = flows::put_role::put_role(self.0.store.as_ref(), name, patterns)
            .await
            .map_err(|error| status::of_put_role(&error))?;
        Ok(wire::PutRoleResponse { role: Some(message::to_role(put.value)), revision: put.revision.0 })
    }

    async fn delete_role(
        &self,
        line: &mut Line,
        request: wire::DeleteRoleRequest,
    ) -> Result<wire::DeleteRoleResponse, Status> {
        let wire::DeleteRoleRequest { name } = request;
        let name = message::role_name("name", &name)?;
        line.subject(&name);
        let revision = flows::delete_role::delete_role(self.0.store.as_ref(), &name)
            .await
            .map_err(|error| status::of_delete_role(&error))?;
        Ok(wire::DeleteRoleResponse { revision: revision.0 })
    }

    async fn create_grant(
        &self,
        line: &mut Line,
        request: wire::CreateGrantRequest,
    ) -> Result<wire::CreateGrantResponse, Status> {
        let wire::CreateGrantRequest { subject, role, within } = request;
        let subject = message::subject("subject", subject)?;
        line.subject(subject.id());
        let role = message::role_name("role", &role)?;
        let within = message::resource("within", within)?;
        let id = GrantId::parse(&chassis::entropy::id(self.0.entropy.as_ref(), ID_PREFIX))
            .map_err(|error| internal("a new grant's id does not parse", &error))?;
        let place = within.as_ref().map_or_else(String::new, |resource| format!(" within={resource}"));
        line.detail(format!("role={role}{place}"));
        let held =
            flows::create_grant::create_grant(self.0.store.as_ref(), id, subject, role.clone(), within)
                .await
                .map_err(|error| status::of_create_grant(&error))?;
        line.detail(format!("grant={} role={role}{place}", held.value.id));
        Ok(wire::CreateGrantResponse {
            grant: Some(message::to_grant(held.value)),
            revision: held.revision.0,
        })
    }

    async fn delete_grant(
        &self,
        line: &mut Line,
        request: wire::DeleteGrantRequest,
    ) -> Result<wire::DeleteGrantResponse, Status> {
        let wire::DeleteGrantRequest { id } = request;
        let id = message::grant_id("id", &id)?;
        line.subject(&id);
        let revision = flows::delete_grant::delete_grant(self.0.store.as_ref(), &id)
            .await
            .map_err(|error| status::of_delete_grant(&error))?;
        Ok(wire::DeleteGrantResponse { revision: revision.0 })
    }

    async fn create_group(
        &self,
        line: &mut Line,
        request: wire::CreateGroupRequest,
    ) -> Result<wire::CreateGroupResponse, Status> {
        let wire::CreateGroupRequest { name } = request;
        let name = message::group_name("name", &name)?;
        line.subject(&name);
        let revision = flows::create_group::create_group(self.0.store.as_ref(), &name)
            .await
            .map_err(|error| status::of_create_group(&error))?;
        let group = message::to_group(Group { name, members: BTreeSet::new() });
        Ok(wire::CreateGroupResponse { group: Some(group), revision: revision.0 })
    }

    async fn delete_group(
        &self,
        line: &mut Line,
        request: wire::DeleteGroupRequest,
    ) -> Result<wire::DeleteGroupResponse, Status> {
        let wire::DeleteGroupRequest { name } = request;
        let name = message::group_name("name", &name)?;
        line.subject(&name);
        let revision = flows::delete_group::delete_group(self.0.store.as_ref(), &name)
            .await
            .map_err(|error| status::of_delete_group(&error))?;
        Ok(wire::DeleteGroupResponse { revision: revision.0 })
    }

    async fn add_group_member(
        &self,
        line: &mut Line,
        request: wire::AddGroupMemberRequest,
    ) -> Result<wire::AddGroupMemberResponse, Status> {
        let wire::AddGroupMemberRequest { group, member } = request;
        let group = message::group_name("group", &group)?;
        let member = message::subject("member", member)?;
        member_line(line, &group, &member);
        let revision = flows::add_group_member::add_group_member(self.0.store.as_ref(), &group, &member)
            .await
            .map_err(|error| status::of_add_group_member(&error))?;
        Ok(wire::AddGroupMemberResponse { revision: revision.0 })
    }

    async fn remove_group_member(
        &self,
        line: &mut Line,
        request: wire::RemoveGroupMemberRequest,
    ) -> Result<wire::RemoveGroupMemberResponse, Status> {
        let wire::RemoveGroupMemberRequest { group, member } = request;
        let group = message::group_name("group", &group)?;
        let member = message::subject("member", member)?;
        member_line(line, &group, &member);
        let revision =
            flows::remove_group_member::remove_group_member(self.0.store.as_ref(), &group, &member)
                .await
                .map_err(|error| status::of_remove_group_member(&error))?;
        Ok(wire::RemoveGroupMemberResponse { revision: revision.0 })
    }

    async fn forget_subject(
        &self,
        line: &mut Line,
        request: wire::ForgetSubjectRequest,
    ) -> Result<wire::ForgetSubjectResponse, Status> {
        let wire::ForgetSubjectRequest { subject } = request;
        let principal = message::principal("subject", subject)?;
        line.subject(&principal);
        let revision = flows::forget_subject::forget_subject(self.0.store.as_ref(), &principal)
            .await
            .map_err(|error| status::of_store(&error))?;
        Ok(wire::ForgetSubjectResponse { revision: revision.0 })
    }
}

/// It happens to the member; the group is where.
fn member_line(line: &mut Line, group: &GroupName, member: &Subject) {
    line.subject(member.id());
    line.detail(format!("group={group}"));
}

/// Each RPC as its line, its call and its ending.
macro_rules! audited {
    ($($event:literal $rpc:ident($request:ident) -> $response:ident)*) => {
        #[tonic::async_trait]
        impl PolicyAdminService for Admin {
            $(async fn $rpc(&self, request: Request<wire::$request>) -> Result<Response<wire::$response>, Status> {
                let mut line = Line::begin($event, &request);
                let result = Admin::$rpc(self, &mut line, request.into_inner()).await;
                // Audited first: done is done. And also for what is not there any more: somebody may have removed it a
                // moment ago, in a call that nobody waited for.
                let result = line.end(result);
                if result.as_ref().err().is_none_or(|status| status.code() == Code::NotFound) {
                    self.0.hold_everywhere().await?;
                }
                result
            })*
        }
    };
}

audited! {
    "role.put" put_role(PutRoleRequest) -> PutRoleResponse
    "role.delete" delete_role(DeleteRoleRequest) -> DeleteRoleResponse
    "grant.create" create_grant(CreateGrantRequest) -> CreateGrantResponse
    "grant.delete" delete_grant(DeleteGrantRequest) -> DeleteGrantResponse
    "group.create" create_group(CreateGroupRequest) -> CreateGroupResponse
    "group.delete" delete_group(DeleteGroupRequest) -> DeleteGroupResponse
    "group.member.add" add_group_member(AddGroupMemberRequest) -> AddGroupMemberResponse
    "group.member.remove" remove_group_member(RemoveGroupMemberRequest) -> RemoveGroupMemberResponse
    "grant.forget" forget_subject(ForgetSubjectRequest) -> ForgetSubjectResponse
}
