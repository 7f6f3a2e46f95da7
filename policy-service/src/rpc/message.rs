//! Messages to domain values and back. Requests are destructured at their handlers; what is parsed here names the field
//! that was wrong, so that a caller of a batch knows which of its thousand questions it was.

use chassis::status::invalid;
use proto::policy::v1 as wire;
use tonic::Status;

use crate::domain::subject::SubjectInvalid;
use crate::domain::{
    Grant, GrantId, Group, GroupName, Permission, PermissionPattern, Principal, Question, Resource, Role,
    RoleName, Subject,
};

/// A user or a client; a group is refused.
pub(super) fn principal(field: &str, subject: Option<wire::Subject>) -> Result<Principal, Status> {
    match self::subject(field, subject)? {
        Subject::Principal(principal) => Ok(principal),
        Subject::Group(_) => {
            let message = "must be a user or a client: a group is no subject of its own here";
            Err(invalid(&format!("{field}.kind"), "SUBJECT_INVALID", message))
        }
    }
}

/// A user, a client or a group.
pub(super) fn subject(field: &str, subject: Option<wire::Subject>) -> Result<Subject, Status> {
    let Some(wire::Subject { kind, id }) = subject else {
        return Err(invalid(field, "SUBJECT_INVALID", "must be set"));
    };
    let parsed = match wire::SubjectKind::try_from(kind) {
        Ok(wire::SubjectKind::User) => Principal::user(&id).map(Subject::from),
        Ok(wire::SubjectKind::Client) => Principal::client(&id).map(Subject::from),
        Ok(wire::SubjectKind::Group) => {
            GroupName::parse(&id).map(Subject::from).map_err(|_| SubjectInvalid::Group)
        }
        Ok(wire::SubjectKind::Unspecified) | Err(_) => {
            let message = "must be USER, CLIENT or GROUP";
            return Err(invalid(&format!("{field}.kind"), "SUBJECT_INVALID", message));
        }
    };
    parsed.map_err(|error| invalid(&format!("{field}.id"), "SUBJECT_INVALID", error.to_string()))
}

/// A resource, if there is one. One that is set and empty is not "everywhere".
pub(super) fn resource(field: &str, resource: Option<wire::Resource>) -> Result<Option<Resource>, Status> {
    let Some(wire::Resource { kind, id }) = resource else { return Ok(None) };
    let parsed = Resource::parse(&kind, &id);
    parsed.map(Some).map_err(|error| invalid(field, "RESOURCE_INVALID", error.to_string()))
}

pub(super) fn role_name(field: &str, name: &str) -> Result<RoleName, Status> {
    RoleName::parse(name).map_err(|error| invalid(field, "ROLE_INVALID", error.to_string()))
}

pub(super) fn group_name(field: &str, name: &str) -> Result<GroupName, Status> {
    GroupName::parse(name).map_err(|error| invalid(field, "GROUP_INVALID", error.to_string()))
}

pub(super) fn grant_id(field: &str, id: &str) -> Result<GrantId, Status> {
    GrantId::parse(id).map_err(|error| invalid(field, "GRANT_INVALID", error.to_string()))
}

pub(super) fn pattern(field: &str, text: &str) -> Result<PermissionPattern, Status> {
    PermissionPattern::parse(text).map_err(|error| invalid(field, "PERMISSION_INVALID", error.to_string()))
}

/// A question and the revision that its answer must not be older than. `prefix` goes before the names of fields.
pub(super) fn question(prefix: &str, request: wire::CheckRequest) -> Result<(Question, u64), Status> {
    let wire::CheckRequest { subject, permission, resource, at_least } = request;
    let principal = principal(&format!("{prefix}subject"), subject)?;
    let permission = Permission::parse(&permission)
        .map_err(|error| invalid(&format!("{prefix}permission"), "PERMISSION_INVALID", error.to_string()))?;
    let resource = self::resource(&format!("{prefix}resource"), resource)?;
    Ok((Question { principal, permission, resource }, at_least))
}

pub(super) fn to_role(role: Role) -> wire::Role {
    let Role { name, permissions, built_in } = role;
    let permissions = permissions.iter().map(ToString::to_string).collect();
    wire::Role { name: name.to_string(), permissions, built_in }
}

pub(super) fn to_grant(grant: Grant) -> wire::Grant {
    let Grant { id, subject, role, within } = grant;
    wire::Grant {
        id: id.to_string(),
        subject: Some(to_subject(&subject)),
        role: role.to_string(),
        within: within.as_ref().map(to_resource),
    }
}

pub(super) fn to_group(group: Group) -> wire::Group {
    let Group { name, members } = group;
    wire::Group { name: name.to_string(), members: members.iter().map(to_subject).collect() }
}

fn to_subject(subject: &Subject) -> wire::Subject {
    let kind = match subject {
        Subject::Principal(Principal::User(_)) => wire::SubjectKind::User,
        Subject::Principal(Principal::Client(_)) => wire::SubjectKind::Client,
        Subject::Group(_) => wire::SubjectKind::Group,
    };
    wire::Subject { kind: kind.into(), id: subject.id().to_owned() }
}

fn to_resource(resource: &Resource) -> wire::Resource {
    wire::Resource { kind: resource.kind().to_owned(), id: resource.id().to_owned() }
}
