//! What auth-service keeps, and what a store promises. One trait, one conformance suite (`tests/it/store`), one adapter
//! for each database.
//!
//! Promises of every adapter:
//! - An answer is durable: what was acknowledged survives the kill of any process and a power cut.
//! - A change of state is one statement whose condition repeats every precondition, or one transaction begun by such a
//!   statement. Of any number of concurrent callers exactly one wins; the others learn that they lost.
//! - "Not there" is said only when it was seen. Everything that keeps the store from seeing is [`StoreError`].
//! - What ends something appends that to the feed's log in the same transaction ([`NewEnding`]).
//! - Times have milliseconds. `now` is always an argument: the database's clock decides nothing.

use std::time::Duration;

use async_trait::async_trait;
use chassis::clock::Clock;
use feed::{Change, Tag, Target, Wall, What, log::Appended};
use time::OffsetDateTime;

use crate::domain::{
    client::Client,
    id::{ClientId, FamilyId, UserId},
    page::{Page, PageRequest},
    phc::PasswordHash,
    refresh::{Family, Standing},
    secret::Digest,
    signing_key::SealedKey,
    throttle::{Attempt, ThrottleKey, ThrottlePolicy},
    user::{Account, Key, Status, User},
    username::Username,
};

pub mod postgres;
mod row;
pub mod sqlite;

/// So long an ended family is kept: whoever uses one of its tokens again is then audited by name.
const ENDED_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Longer than any store makes a caller wait, and little of the ten minutes by which the clocks of those that go by an ending may
/// differ ([`feed::issuer::Bounds`]).
const COMMITTED_WITHIN: Duration = Duration::from_secs(60);

/// Why a store could not answer. Never an outcome.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row that no version of this program writes.
    #[error("the store holds an impossible {0}")]
    Corrupt(&'static str),
}

/// Outcome of an insertion that something unique may forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    Done,
    /// The name is somebody else's.
    Taken,
}

/// A user to be.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub id: UserId,
    pub username: Username,
    pub password_hash: PasswordHash,
    pub must_change_password: bool,
    pub created_at: OffsetDateTime,
}

/// The first refresh token of a new family.
#[derive(Clone, Debug)]
pub struct NewFamily {
    pub family: Family,
    pub token: Digest,
    pub idle_until: OffsetDateTime,
}

/// One rotation: this token is spent, that one takes its place.
#[derive(Clone, Debug)]
pub struct Rotation {
    pub spent: Digest,
    pub client: ClientId,
    pub successor: Digest,
    /// Readable by who holds the spent token; `None` where there is no grace window.
    pub sealed: Option<Vec<u8>>,
    pub idle_until: OffsetDateTime,
    pub now: OffsetDateTime,
}

/// Something that ends: its entry goes into the feed's log in the transaction that changes the rows, so that there is never
/// one without the other.
#[derive(Clone, Copy, Debug)]
pub struct NewEnding<'a> {
    pub at: OffsetDateTime,
    /// From then on nothing that it could concern is alive, if it is committed soon.
    pub until: Wall,
    /// Random.
    pub tag: Tag,
    /// By which it is told whether it is still soon: it also runs while the machine is suspended.
    pub clock: &'a dyn Clock,
    /// When `until` was reckoned: a boot time.
    pub reckoned: Duration,
}

impl NewEnding<'_> {
    /// Whether it may be forgotten too early. Whoever repeats it has it reckoned anew.
    pub fn is_late(&self) -> bool {
        self.clock.boottime().saturating_sub(self.reckoned) > COMMITTED_WITHIN
    }

    /// The log's entry: void is what was issued under a lower number than `min`; without one, everything is.
    ///
    /// Made within the transaction that appends it: one that this process was suspended before ends nothing. From here to the commit
    /// PostgreSQL waits for a client no longer than `idle_in_transaction_session_timeout`; nobody watches over that on a SQLite
    /// file, between whose last two statements a machine could be suspended for a day.
    fn entry(&self, what: What, id: &str, min: Option<u64>) -> Result<Appended, StoreError> {
        if self.is_late() {
            return Err(StoreError::Unavailable("the ending was reckoned too long ago".into()));
        }
        let change = Change { target: Target::new(what, id), min, except: None, until: self.until };
        Ok(Appended { tag: self.tag, change })
    }
}

/// Why a family ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyEnd {
    Logout,
    Revoked,
    Theft,
}

/// What time has made useless. Each kind is swept by itself, so that what keeps one from being swept keeps none of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Useless {
    /// What is sealed in tokens that were spent by then. It is wiped.
    Successors,
    /// Families that were past their absolute age by then, or had ended a day before, with their tokens.
    Families,
    /// Tokens that were past their idle time by then, and each family with its last.
    Tokens,
    /// Counters of failed logins that were to be forgotten by then.
    Throttles,
}

#[async_trait]
pub trait Store: Send + Sync + 'static {
    // Users

    /// Active, with epoch 0. A username is free or not by its key.
    async fn insert_user(&self, user: NewUser) -> Result<Inserted, StoreError>;
    async fn user(&self, key: &Key<UserId>) -> Result<Option<User>, StoreError>;
    /// For logins: by the username's key, with the stored hash.
    async fn account(&self, username_key: &str) -> Result<Option<Account>, StoreError>;
    /// In the order of ids.
    async fn users(&self, page: &PageRequest) -> Result<Page<User>, StoreError>;
    /// Disabling raises the epoch and ends the families; what is disabled already is left as it is.
    async fn set_user_status(
        &self,
        id: &UserId,
        status: Status,
        ending: NewEnding<'_>,
    ) -> Result<Option<User>, StoreError>;
    /// Raises the epoch and ends the families. With `epoch`, only where the user is active and still has it: what was
    /// verified a moment ago is what is replaced. `None`: no such user, or no longer so.
    async fn set_password(
        &self,
        id: &UserId,
        epoch: Option<u64>,
        hash: &PasswordHash,
        must_change: bool,
        ending: NewEnding<'_>,
    ) -> Result<Option<User>, StoreError>;
    /// Replaces the hash of an unchanged password; the epoch stays. Done only where `old` is still the stored one.
    async fn upgrade_hash(
        &self,
        id: &UserId,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError>;
    /// Raises the epoch and ends the families, active or not. `false`: no such user.
    async fn revoke_user(&self, id: &UserId, ending: NewEnding<'_>) -> Result<bool, StoreError>;
    /// Deletes the user and ends the families. The id is never used again.
    async fn delete_user(&self, id: &UserId, ending: NewEnding<'_>) -> Result<bool, StoreError>;

    // Clients

    async fn insert_client(&self, client: &Client) -> Result<Inserted, StoreError>;
    async fn client(&self, key: &Key<ClientId>) -> Result<Option<Client>, StoreError>;
    /// In the order of ids.
    async fn clients(&self, page: &PageRequest) -> Result<Page<Client>, StoreError>;
    /// The former secret is dead when this is answered, and the epoch raised, so that families of the former are void.
    /// Public clients are not found.
    async fn set_client_secret(
        &self,
        id: &ClientId,
        secret: &Digest,
        ending: NewEnding<'_>,
    ) -> Result<Option<Client>, StoreError>;
    /// As [`Store::set_user_status`]. Built-in clients are not found.
    async fn set_client_status(
        &self,
        id: &ClientId,
        status: Status,
        ending: NewEnding<'_>,
    ) -> Result<Option<Client>, StoreError>;
    /// As [`Store::revoke_user`]. Built-in clients are not found.
    async fn revoke_client(&self, id: &ClientId, ending: NewEnding<'_>) -> Result<bool, StoreError>;
    /// Built-in clients are not found.
    async fn delete_client(&self, id: &ClientId, ending: NewEnding<'_>) -> Result<bool, StoreError>;

    // Refresh families

    /// Done only while subject and client are active and have the epochs of the family: `false` is "no longer so".
    async fn begin_family(&self, new: &NewFamily) -> Result<bool, StoreError>;
    /// All that decides about a presented token, read at one moment.
    async fn standing(&self, token: &Digest) -> Result<Option<Standing>, StoreError>;
    /// The same of a store that is written to: a database that was deposed still answers the other.
    async fn standing_for_certain(&self, token: &Digest) -> Result<Option<Standing>, StoreError>;
    /// Done only while the token is unspent and not idle too long, its family neither ended nor past its absolute age,
    /// its client the one given, and subject and client active with the family's epochs. `false`: read again and judge.
    async fn rotate(&self, rotation: &Rotation) -> Result<bool, StoreError>;
    /// Also one that has ended, until it is swept.
    async fn family(&self, id: &FamilyId) -> Result<Option<Family>, StoreError>;
    /// Whether this call ended it. With `subject`, only that subject's.
    async fn end_family(
        &self,
        id: &FamilyId,
        subject: Option<&UserId>,
        why: FamilyEnd,
        ending: NewEnding<'_>,
    ) -> Result<bool, StoreError>;

    // Throttle

    /// Counts an attempt in one conditional statement, or says until when there is none.
    async fn reserve_attempt(
        &self,
        key: &ThrottleKey,
        policy: &ThrottlePolicy,
        now: OffsetDateTime,
    ) -> Result<Attempt, StoreError>;
    /// Takes one attempt back that was never made, and with it the delay that it brought about, unless that has passed and
    /// another was made since. `reserved_at` is the `now` that it was reserved with.
    async fn return_attempt(
        &self,
        key: &ThrottleKey,
        policy: &ThrottlePolicy,
        reserved_at: OffsetDateTime,
    ) -> Result<(), StoreError>;
    /// Forgets the failures: the password was right.
    async fn forget_attempts(&self, key: &ThrottleKey) -> Result<(), StoreError>;

    // Signing keys

    async fn signing_keys(&self) -> Result<Vec<SealedKey>, StoreError>;
    /// `false`: there is an active, or an announced, key already.
    async fn insert_signing_key(&self, key: &SealedKey) -> Result<bool, StoreError>;
    /// The announced key becomes active and the active one, exactly `retire`, retires. `false`: it is no longer so.
    async fn activate_signing_key(
        &self,
        kid: &str,
        retire: Option<&str>,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError>;
    /// Wipes the private half of a retiring key whose time is over.
    async fn remove_signing_key(&self, kid: &str, now: OffsetDateTime) -> Result<bool, StoreError>;
    /// Wipes the private half of a key in whatever state. `false`: it is gone already, or never was.
    async fn revoke_signing_key(&self, kid: &str, ending: NewEnding<'_>) -> Result<bool, StoreError>;

    // Upkeep

    /// Removes, or wipes, what was useless `by` then: no statement more than `limit` rows. Answers how many rows; 0: none is left,
    /// or others are at them.
    async fn sweep(&self, what: Useless, by: OffsetDateTime, limit: u32) -> Result<u64, StoreError>;
}

impl FamilyEnd {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::Theft => "theft",
        }
    }
}
