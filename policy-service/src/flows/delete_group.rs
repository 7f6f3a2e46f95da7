//! Deletes a group, with its grants and its memberships.

use crate::domain::{GroupName, Revision};
use crate::store::{Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum DeleteGroupError {
    #[error("there is no such group")]
    GroupNotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub async fn delete_group(store: &dyn Store, name: &GroupName) -> Result<Revision, DeleteGroupError> {
    store.delete_group(name).await?.ok_or(DeleteGroupError::GroupNotFound)
}
