//! Deletes a role, and with it every grant that gives it.

use crate::domain::{Revision, RoleName};
use crate::store::{RoleDeleted, Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum DeleteRoleError {
    #[error("there is no such role")]
    RoleNotFound,
    #[error("a built-in role cannot be deleted")]
    BuiltIn,
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub async fn delete_role(store: &dyn Store, name: &RoleName) -> Result<Revision, DeleteRoleError> {
    match store.delete_role(name).await? {
        RoleDeleted::Deleted(revision) => Ok(revision),
        RoleDeleted::NotFound => Err(DeleteRoleError::RoleNotFound),
        RoleDeleted::BuiltIn => Err(DeleteRoleError::BuiltIn),
    }
}
