//! Creates a role or replaces its permissions, for all who hold it at once.

use std::collections::BTreeSet;

use crate::domain::role::RoleInvalid;
use crate::domain::{At, PermissionPattern, Role, RoleName};
use crate::store::{RolePut, Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum PutRoleError {
    #[error(transparent)]
    Invalid(#[from] RoleInvalid),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub async fn put_role(
    store: &dyn Store,
    name: RoleName,
    permissions: BTreeSet<PermissionPattern>,
) -> Result<At<Role>, PutRoleError> {
    let role = Role::of_application(name, permissions)?;
    match store.put_role(&role).await? {
        RolePut::Put(revision) => Ok(At { value: role, revision }),
        RolePut::BuiltIn => Err(RoleInvalid::BuiltIn.into()),
    }
}
