//! An application's few bytes on a session. Setting them is no activity: applications may work while nobody is there.

use super::Sessions;
use crate::domain::{Attributes, SessionId};
use crate::store::{AttributesSet, StoreError};

impl Sessions {
    pub async fn set_attributes(
        &self,
        id: &SessionId,
        expected_version: u64,
        attributes: &Attributes,
    ) -> Result<AttributesSet, StoreError> {
        let now = self.now();
        // The store knows endings and the absolute expiry; whether a session is idle is known here.
        if self.get(id).await?.is_none() {
            return Ok(AttributesSet::NotFound);
        }
        self.store.set_attributes(id, expected_version, attributes, now).await
    }
}
