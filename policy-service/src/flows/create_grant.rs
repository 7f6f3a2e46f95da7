//! Gives a role to a user, a client or a group. Whether the user or client exists is auth-service's knowledge and is not
//! asked: its ids are never reused, so a grant for nobody allows nobody.

use crate::domain::{At, Grant, GrantId, Resource, RoleName, Subject};
use crate::store::{GrantCreated, Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum CreateGrantError {
    #[error("there is no such role")]
    RoleNotFound,
    #[error("there is no such group")]
    GroupNotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// `id` is the grant's if it is new; one that exists keeps its own.
pub async fn create_grant(
    store: &dyn Store,
    id: GrantId,
    subject: Subject,
    role: RoleName,
    within: Option<Resource>,
) -> Result<At<Grant>, CreateGrantError> {
    match store.create_grant(&Grant { id, subject, role, within }).await? {
        GrantCreated::Held(grant) => Ok(grant),
        GrantCreated::RoleNotFound => Err(CreateGrantError::RoleNotFound),
        GrantCreated::GroupNotFound => Err(CreateGrantError::GroupNotFound),
    }
}
