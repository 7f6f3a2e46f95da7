//! Puts a user, a client or another group into a group.

use crate::domain::{GroupName, Revision, Subject};
use crate::store::{MemberAdded, Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum AddGroupMemberError {
    #[error("there is no group {0}")]
    GroupNotFound(GroupName),
    #[error("the group would be a member of itself")]
    Cycle,
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub async fn add_group_member(
    store: &dyn Store,
    group: &GroupName,
    member: &Subject,
) -> Result<Revision, AddGroupMemberError> {
    match store.add_group_member(group, member).await? {
        MemberAdded::Member(revision) => Ok(revision),
        MemberAdded::GroupNotFound(name) => Err(AddGroupMemberError::GroupNotFound(name)),
        MemberAdded::Cycle => Err(AddGroupMemberError::Cycle),
    }
}
