//! The one place where outcomes of flows become gRPC statuses. A store that could not answer is UNAVAILABLE, always: a deny
//! or a "not found" would be an answer that nobody gave.

use std::time::Duration;

use chassis::status::{invalid, refusal, unavailable, with_retry};
use tonic::{Code, Status};

use crate::domain::role::RoleInvalid;
use crate::flows::ReadError;
use crate::flows::add_group_member::AddGroupMemberError;
use crate::flows::create_grant::CreateGrantError;
use crate::flows::create_group::CreateGroupError;
use crate::flows::delete_grant::DeleteGrantError;
use crate::flows::delete_group::DeleteGroupError;
use crate::flows::delete_role::DeleteRoleError;
use crate::flows::get_role::GetRoleError;
use crate::flows::put_role::PutRoleError;
use crate::flows::remove_group_member::RemoveGroupMemberError;
use crate::store::StoreError;

/// Until when a caller need not ask again for a revision that is not here.
const RETRY: Duration = Duration::from_secs(1);

pub(super) fn of_store(error: &StoreError) -> Status {
    if let StoreError::Corrupt(source) = error {
        // Repeating may not help; somebody must look.
        tracing::error!(error = %source, "the policy store holds what policy-service never wrote");
    }
    unavailable("the policy store could not be asked", error)
}

/// It is changed, and perhaps not yet everywhere. Repeating is right.
pub(super) fn not_confirmed() -> Status {
    let message = "it is changed, and not yet known to hold everywhere: repeat it";
    with_retry(Code::Unavailable, "NOT_CONFIRMED", message, RETRY)
}

/// What the database says may be of yesterday.
pub(super) fn no_right() -> Status {
    let message = "the log of changes has not answered for a lease: what is read may have changed";
    with_retry(Code::Unavailable, "NO_RIGHT", message, RETRY)
}

pub(super) fn of_read(error: &ReadError) -> Status {
    match error {
        ReadError::RevisionNotReached { .. } => {
            with_retry(Code::Unavailable, "REVISION_NOT_REACHED", error.to_string(), RETRY)
        }
        ReadError::Store(error) => of_store(error),
    }
}

pub(super) fn of_get_role(error: &GetRoleError) -> Status {
    match error {
        GetRoleError::RoleNotFound => not_found("ROLE_NOT_FOUND", error),
        GetRoleError::Store(error) => of_store(error),
    }
}

pub(super) fn of_put_role(error: &PutRoleError) -> Status {
    match error {
        PutRoleError::Invalid(RoleInvalid::BuiltIn) => failed_precondition("ROLE_BUILT_IN", error),
        PutRoleError::Invalid(RoleInvalid::OwnPermission(_)) => {
            invalid("role.permissions", "PERMISSION_INVALID", error.to_string())
        }
        PutRoleError::Invalid(RoleInvalid::TooManyPermissions) => {
            invalid("role.permissions", "ROLE_INVALID", error.to_string())
        }
        PutRoleError::Store(error) => of_store(error),
    }
}

pub(super) fn of_delete_role(error: &DeleteRoleError) -> Status {
    match error {
        DeleteRoleError::RoleNotFound => not_found("ROLE_NOT_FOUND", error),
        DeleteRoleError::BuiltIn => failed_precondition("ROLE_BUILT_IN", error),
        DeleteRoleError::Store(error) => of_store(error),
    }
}

pub(super) fn of_create_grant(error: &CreateGrantError) -> Status {
    match error {
        CreateGrantError::RoleNotFound => not_found("ROLE_NOT_FOUND", error),
        CreateGrantError::GroupNotFound => not_found("GROUP_NOT_FOUND", error),
        CreateGrantError::Store(error) => of_store(error),
    }
}

pub(super) fn of_delete_grant(error: &DeleteGrantError) -> Status {
    match error {
        DeleteGrantError::GrantNotFound => not_found("GRANT_NOT_FOUND", error),
        DeleteGrantError::Store(error) => of_store(error),
    }
}

pub(super) fn of_create_group(error: &CreateGroupError) -> Status {
    match error {
        CreateGroupError::Taken => refusal(Code::AlreadyExists, "GROUP_TAKEN", error.to_string()),
        CreateGroupError::Store(error) => of_store(error),
    }
}

pub(super) fn of_delete_group(error: &DeleteGroupError) -> Status {
    match error {
        DeleteGroupError::GroupNotFound => not_found("GROUP_NOT_FOUND", error),
        DeleteGroupError::Store(error) => of_store(error),
    }
}

pub(super) fn of_add_group_member(error: &AddGroupMemberError) -> Status {
    match error {
        AddGroupMemberError::GroupNotFound(_) => not_found("GROUP_NOT_FOUND", error),
        AddGroupMemberError::Cycle => failed_precondition("GROUP_CYCLE", error),
        AddGroupMemberError::Store(error) => of_store(error),
    }
}

pub(super) fn of_remove_group_member(error: &RemoveGroupMemberError) -> Status {
    match error {
        RemoveGroupMemberError::GroupNotFound => not_found("GROUP_NOT_FOUND", error),
        RemoveGroupMemberError::MemberNotFound => not_found("MEMBER_NOT_FOUND", error),
        RemoveGroupMemberError::Store(error) => of_store(error),
    }
}

fn not_found(reason: &str, error: &dyn std::error::Error) -> Status {
    refusal(Code::NotFound, reason, error.to_string())
}

fn failed_precondition(reason: &str, error: &dyn std::error::Error) -> Status {
    refusal(Code::FailedPrecondition, reason, error.to_string())
}
