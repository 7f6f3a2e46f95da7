//! A token that held.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use feed::Credential;
use time::OffsetDateTime;

use crate::Principal;

/// Who a token makes the caller, and what was prepared for whom once.
#[derive(Debug)]
pub struct Verified<T> {
    pub principal: Principal,
    pub prepared: T,
    /// Claim `jti`.
    pub token_id: String,
    /// By what endings name it.
    pub(crate) credential: Credential,
    /// Expiry with leeway.
    pub(crate) good_until: OffsetDateTime,
    pub(crate) key: Arc<KeyLife>,
}

/// Whether a signing key is still published, and was not ended. Shared by all that it signed, so that withdrawing a key voids
/// them with one store, without a search and without a moment in which some are void and others not.
#[derive(Debug, Default)]
pub(crate) struct KeyLife {
    withdrawn: AtomicBool,
    ended: AtomicBool,
}

impl KeyLife {
    pub(crate) fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Release);
    }

    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }

    /// For good: its ending is forgotten one day, and by then the key may still be in the last set that could be fetched.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

impl<T> Verified<T> {
    /// By what changes name it, with the roles that it carries and how old they are.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    pub(crate) fn is_good(&self, now: OffsetDateTime) -> bool {
        now < self.good_until && !self.key.is_withdrawn()
    }
}
