//! Removes what a deleted user or client held.

use crate::domain::{Principal, Revision};
use crate::store::{Store, StoreError};

pub async fn forget_subject(store: &dyn Store, principal: &Principal) -> Result<Revision, StoreError> {
    store.forget(principal).await
}
