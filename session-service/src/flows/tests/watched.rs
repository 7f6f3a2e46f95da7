//! A store that a test looks into, and takes away.

use std::sync::Mutex;

use super::*;
use crate::store::memory::MemoryStore;
use crate::store::{
    Activity, AttributesSet, Created, Ending, Found, Listing, NewSession, Rotated, Rotation, Sweep, Swept,
};

/// A store in memory that counts writes of activity, and can be away.
#[derive(Default)]
pub(super) struct Watched {
    inner: MemoryStore,
    activity_writes: AtomicU64,
    away: Mutex<bool>,
}

impl Watched {
    pub(super) fn fail(&self, away: bool) {
        *self.away.lock().unwrap() = away;
    }

    pub(super) fn activity_writes(&self) -> u64 {
        self.activity_writes.load(Ordering::SeqCst)
    }

    fn asked(&self) -> Result<&MemoryStore, StoreError> {
        if *self.away.lock().unwrap() { Err(StoreError::Unavailable("away".into())) } else { Ok(&self.inner) }
    }
}

#[async_trait]
impl SessionStore for Watched {
    async fn create(&self, new: NewSession) -> Result<Created, StoreError> {
        self.asked()?.create(new).await
    }

    async fn find(&self, secret: SecretDigest, now: OffsetDateTime) -> Result<Option<Found>, StoreError> {
        self.asked()?.find(secret, now).await
    }

    async fn get(&self, id: &SessionId, now: OffsetDateTime) -> Result<Option<Session>, StoreError> {
        self.asked()?.get(id, now).await
    }

    async fn list(&self, listing: Listing) -> Result<Vec<Session>, StoreError> {
        self.asked()?.list(listing).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        self.asked()?.rotate(rotation).await
    }

    async fn end(
        &self,
        ending: Ending,
        reason: EndReason,
        now: OffsetDateTime,
    ) -> Result<Vec<Ended>, StoreError> {
        self.asked()?.end(ending, reason, now).await
    }

    async fn record_activity(&self, activity: &[Activity]) -> Result<(), StoreError> {
        self.activity_writes.fetch_add(1, Ordering::SeqCst);
        self.asked()?.record_activity(activity).await
    }

    async fn set_attributes(
        &self,
        id: &SessionId,
        expected_version: u64,
        attributes: &Attributes,
        now: OffsetDateTime,
    ) -> Result<AttributesSet, StoreError> {
        self.asked()?.set_attributes(id, expected_version, attributes, now).await
    }

    async fn sweep(&self, sweep: Sweep) -> Result<Swept, StoreError> {
        self.asked()?.sweep(sweep).await
    }
}
