//! Creates an empty group.

use crate::domain::{GroupName, Revision};
use crate::store::{GroupCreated, Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum CreateGroupError {
    #[error("there is a group of that name")]
    Taken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub async fn create_group(store: &dyn Store, name: &GroupName) -> Result<Revision, CreateGroupError> {
    match store.create_group(name).await? {
        GroupCreated::Created(revision) => Ok(revision),
        GroupCreated::Taken => Err(CreateGroupError::Taken),
    }
}
