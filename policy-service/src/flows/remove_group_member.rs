//! Takes a member out of a group.

use crate::domain::{GroupName, Revision, Subject};
use crate::store::{MemberRemoved, Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum RemoveGroupMemberError {
    #[error("there is no such group")]
    GroupNotFound,
    #[error("the group has no such member")]
    MemberNotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub async fn remove_group_member(
    store: &dyn Store,
    group: &GroupName,
    member: &Subject,
) -> Result<Revision, RemoveGroupMemberError> {
    match store.remove_group_member(group, member).await? {
        MemberRemoved::Removed(revision) => Ok(revision),
        MemberRemoved::GroupNotFound => Err(RemoveGroupMemberError::GroupNotFound),
        MemberRemoved::MemberNotFound => Err(RemoveGroupMemberError::MemberNotFound),
    }
}
