//! Takes a grant back.

use crate::domain::{GrantId, Revision};
use crate::store::{Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum DeleteGrantError {
    #[error("there is no such grant")]
    GrantNotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub async fn delete_grant(store: &dyn Store, id: &GrantId) -> Result<Revision, DeleteGrantError> {
    store.delete_grant(id).await?.ok_or(DeleteGrantError::GrantNotFound)
}
