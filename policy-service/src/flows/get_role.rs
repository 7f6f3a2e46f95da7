//! Reads one role.

use crate::domain::{Role, RoleName};
use crate::store::{Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum GetRoleError {
    #[error("there is no such role")]
    RoleNotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub async fn get_role(store: &dyn Store, name: &RoleName) -> Result<Role, GetRoleError> {
    store.role(name).await?.ok_or(GetRoleError::RoleNotFound)
}
