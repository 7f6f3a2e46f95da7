//! What flows need of a store, and what every store promises. Each promise is held by one conformance suite
//! (`tests/it/store.rs`) that runs on every adapter.
//!
//! - A write that was answered is durable as the adapter's own words say, and each method is one transaction.
//! - Reads return sessions that nobody has ended, whose absolute time is not up. Idle time is judged by the caller, who
//!   knows of activity that is not written yet.
//! - An ending is final: a tombstone stays until the session's absolute expiry, and no later write revives it.
//! - An error never means "not there": what could not be asked is a [`StoreError`].

mod error;
pub mod memory;
pub mod postgres;
pub mod redis;
mod row;
pub mod sqlite;

use std::error::Error;

use async_trait::async_trait;
use thiserror::Error;
use time::OffsetDateTime;

use crate::domain::{
    Attributes, Cursor, EndReason, Limit, SealedSuccessor, SecretDigest, Session, SessionId, Subject,
};

/// Rotations whose former secrets are accepted at once. Only a browser that rotates more often than that within one
/// window notices, on its own parallel requests.
const MOST_SUCCESSORS: i64 = 16;

/// Neither is an outcome: nobody is told that something does not exist because of one.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("the session store could not be asked")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    #[error("the session store holds what cannot be")]
    Corrupt(#[source] Box<dyn Error + Send + Sync>),
}

/// A login about to become a session.
#[derive(Clone, Debug)]
pub struct NewSession {
    pub session: Session,
    pub secret: SecretDigest,
    pub proof: SpentProof,
    /// The secret that the browser had before: its session ends with this one's beginning.
    pub former: Option<SecretDigest>,
    pub limit: Limit,
    /// The subject's other sessions last active at this moment or before are over.
    pub idle_since: OffsetDateTime,
    /// The subject's activity that is not written yet; counted before anything is called idle.
    pub activity: Vec<Activity>,
    pub now: OffsetDateTime,
}

/// A login proof's identifier, remembered until nobody would accept the proof any more.
#[derive(Clone, Debug)]
pub struct SpentProof {
    pub jti: String,
    pub keep_until: OffsetDateTime,
}

/// When a session was last used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    pub id: SessionId,
    pub at: OffsetDateTime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// With the sessions that had to make room or were replaced.
    Stored { ended: Vec<Ended> },
    /// The proof has made a session before. Nothing was changed.
    ProofSpent,
    /// The subject has as many sessions as it may. Nothing was changed, and the proof is not spent.
    LimitReached,
}

/// A session that this very call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub id: SessionId,
    pub subject: Subject,
    pub reason: EndReason,
    /// As written: what the process knows beyond that is the caller's to add.
    pub last_active_at: OffsetDateTime,
}

/// A session found by a secret, and what stands between that secret and the current one.
#[derive(Clone, Debug)]
pub struct Found {
    pub session: Session,
    /// Empty when the secret is the current one; else each rotation since, in order. All of them are within their window.
    pub successors: Vec<SealedSuccessor>,
}

#[derive(Clone, Debug)]
pub struct Rotation {
    pub id: SessionId,
    pub from: SecretDigest,
    pub to: SecretDigest,
    pub sealed: SealedSuccessor,
    /// `from` is accepted before this moment.
    pub accepted_until: OffsetDateTime,
    pub now: OffsetDateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    Done,
    /// `from` is not the current secret of a session that nobody has ended. Nothing was changed.
    NotCurrent,
}

/// Which sessions to end.
#[derive(Clone, Debug)]
pub enum Ending {
    One(SessionId),
    /// Only if it is this subject's.
    OneOf(SessionId, Subject),
    AllOf(Subject),
    OthersOf(Subject, SessionId),
}

#[derive(Clone, Debug)]
pub struct Listing {
    /// `None`: everybody's.
    pub subject: Option<Subject>,
    pub after: Option<Cursor>,
    pub most: u32,
    pub idle_since: OffsetDateTime,
    pub now: OffsetDateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributesSet {
    Done {
        version: u64,
    },
    /// Somebody else was faster: the version now.
    VersionMismatch {
        current: u64,
    },
    NotFound,
}

#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    pub now: OffsetDateTime,
    /// Sessions last active at this moment or before go too.
    pub idle_before: Option<OffsetDateTime>,
    /// Of each kind.
    pub most: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions and tombstones.
    pub sessions: u64,
    pub successors: u64,
    pub proofs: u64,
}

/// See the top of this file for what every method promises.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Spends the proof, ends what is replaced, makes room or refuses, and inserts: all of it or nothing.
    async fn create(&self, new: NewSession) -> Result<Created, StoreError>;

    /// By the current secret, or by one rotated away whose window is open.
    async fn find(&self, secret: SecretDigest, now: OffsetDateTime) -> Result<Option<Found>, StoreError>;

    async fn get(&self, id: &SessionId, now: OffsetDateTime) -> Result<Option<Session>, StoreError>;

    /// The youngest first; sessions that are idle are left out.
    async fn list(&self, listing: Listing) -> Result<Vec<Session>, StoreError>;

    /// Of rotations that race from one secret, one is `Done`.
    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError>;

    /// Ends, wipes attributes and sealed successors, and says what it ended.
    async fn end(
        &self,
        ending: Ending,
        reason: EndReason,
        now: OffsetDateTime,
    ) -> Result<Vec<Ended>, StoreError>;

    /// Later activity only; of ended sessions none.
    async fn record_activity(&self, activity: &[Activity]) -> Result<(), StoreError>;

    async fn set_attributes(
        &self,
        id: &SessionId,
        expected_version: u64,
        attributes: &Attributes,
        now: OffsetDateTime,
    ) -> Result<AttributesSet, StoreError>;

    /// Deletes what no answer depends on any more. `Swept` full to `most` means that there may be more.
    async fn sweep(&self, sweep: Sweep) -> Result<Swept, StoreError>;
}
