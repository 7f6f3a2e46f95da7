//! What auth-service does, one use case a file. Each takes the parts it works with from [`Auth`], reads the clock once
//! before the first row that authorises anything, and answers with outcomes; what could not be done is a [`Failure`].
//!
//! Each writes its audit line itself: it alone knows what was refused and why, also where the caller may not be told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chassis::{
    clock::SharedClock,
    entropy::{self, SharedEntropy},
};
use feed::driver::serving::Serving;
use time::OffsetDateTime;
use token::RecipientPublicKey;

use crate::{
    domain::{
        client::Audience, password::PasswordRules, phc::PasswordHash, refresh::RefreshPolicy,
        secret::SecretKind, throttle::ThrottlePolicy,
    },
    hashing::{HashingError, PasswordHashing},
    metrics::Metrics,
    peers::{PeerCall, Policy, PolicyUnavailable},
    store::{Store, StoreError},
};

mod audit;
pub mod authenticate_client;
pub mod change_password;
pub mod clients;
pub mod end_family;
pub mod endings;
pub mod grant;
pub mod introspect;
pub mod issue;
pub mod issue_client_token;
pub mod keys;
pub mod login;
mod paced;
pub mod refresh;
pub mod register;
mod remembered;
pub mod revoke;
pub mod signing_keys;
pub mod sweep;
pub mod tokens;
mod tries;
pub mod users;
pub mod verify_password;

pub use remembered::Remembered;
pub use tries::Tries;

/// Everything that flows work with. Adapters are chosen in `app`.
pub struct Auth {
    pub store: Arc<dyn Store>,
    pub policy: Arc<dyn Policy>,
    pub hashing: Arc<dyn PasswordHashing>,
    pub tries: Tries,
    pub remembered: Remembered,
    pub keys: keys::Keys,
    pub clock: SharedClock,
    pub entropy: SharedEntropy,
    pub metrics: Arc<Metrics>,
    /// The log of endings, and who has applied it.
    pub feed: Serving,
    pub settings: Settings,
    /// What the password of an unknown user is checked against: as dear as a real one, and matched by nothing.
    pub nobody: PasswordHash,
}

/// Settings, validated.
#[derive(Clone, Debug)]
pub struct Settings {
    pub issuer: String,
    pub access_lifetime: Duration,
    /// Of whatever carries an epoch: tokens, proofs, and the sessions that are made from these.
    pub longest_life: Duration,
    pub proof_lifetime: Duration,
    /// The audience of first-party logins.
    pub first_party: Audience,
    /// Audiences whose tokens are encrypted, with the recipient's key.
    pub recipients: BTreeMap<String, RecipientPublicKey>,
    pub refresh: RefreshPolicy,
    pub registration_open: bool,
    pub passwords: PasswordRules,
    pub throttle: ThrottlePolicy,
}

/// Where a call comes from, as far as audit lines and calls to neighbours care.
#[derive(Clone, Debug)]
pub struct Origin {
    pub request_id: String,
    /// The acting principal of an administration call.
    pub actor: Option<String>,
    /// What is left of the caller's deadline.
    pub timeout: Duration,
    /// The W3C trace context.
    pub traceparent: Option<String>,
}

/// Something that was needed could not be used. Never an outcome, never "no".
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Policy(#[from] PolicyUnavailable),
    #[error(transparent)]
    Hashing(#[from] HashingError),
    #[error(transparent)]
    Keys(#[from] keys::KeysError),
    #[error(transparent)]
    NotConfirmed(#[from] endings::NotConfirmed),
    #[error(transparent)]
    Feed(#[from] endings::FeedUnavailable),
    #[error("the token cannot be made")]
    Issue(#[from] token::IssueError),
    #[error("a successor cannot be sealed")]
    Sealing(#[from] crate::domain::sealing::DoesNotOpen),
}

impl Auth {
    /// The database's time, by which all replicas go: what one wrote is judged by another, and their clocks differ. With
    /// milliseconds, as the store keeps times: what is answered at a creation is what later reads answer.
    pub(crate) fn now(&self) -> OffsetDateTime {
        let own = self.clock.now().truncate_to_millisecond();
        let agreed = self.feed.view().log_clock.map(|clock| clock.at(endings::wall(own)));
        agreed.and_then(endings::moment).unwrap_or(own)
    }

    /// What the database's clock has certainly said, for what cannot be undone: a clock of this machine that jumps ahead deletes
    /// nothing.
    pub(crate) fn past(&self) -> OffsetDateTime {
        let said = self.feed.view().log_clock.map(|clock| clock.said());
        said.and_then(endings::moment).unwrap_or_else(|| self.now())
    }

    /// A new id of 128 random bits.
    fn id(&self, prefix: &str) -> String {
        entropy::id(self.entropy.as_ref(), prefix)
    }

    fn secret(&self, kind: SecretKind) -> crate::domain::secret::Secret {
        let random = zeroize::Zeroizing::new(entropy::secret(self.entropy.as_ref()));
        crate::domain::secret::Secret::new(kind, &random)
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }
}

impl Origin {
    fn peer_call(&self) -> PeerCall {
        PeerCall {
            request_id: self.request_id.clone(),
            timeout: self.timeout,
            traceparent: self.traceparent.clone(),
        }
    }
}
