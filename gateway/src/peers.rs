//! The three services behind the gateway, as the gateway sees them: traits and types without a wire format.
//!
//! What a service *refuses* is a [`Reason`]; that it could not be *asked*, or answered something that this
//! version does not understand, is [`Unavailable`]. The two never mix, so that nothing downstream can turn
//! an outage into "you may not".

pub mod auth;
mod contract;
pub mod dial;
pub mod keys;
pub mod policy;
pub mod reason;
pub mod sessions;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroize;

pub use contract::auth::*;
pub use contract::policy::*;
pub use contract::sessions::*;
pub use reason::Reason;

/// Everybody whom the gateway asks.
#[derive(Clone)]
pub struct Peers {
    pub auth: Arc<dyn Auth>,
    pub sessions: Arc<dyn Sessions>,
    pub policy: Arc<dyn Policy>,
}

/// For whom a call is made: travels with it in metadata.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    pub request_id: &'a str,
    /// The acting principal's id; set for administration.
    pub actor: Option<&'a str>,
}

impl<'a> Asker<'a> {
    pub fn new(request_id: &'a str) -> Self {
        Self { request_id, actor: None }
    }

    pub fn acting(request_id: &'a str, actor: &'a str) -> Self {
        Self { request_id, actor: Some(actor) }
    }
}

/// A neighbour that could not be asked, or whose answer made no sense. Says nothing about the caller.
#[derive(Debug, thiserror::Error)]
#[error("{peer} could not be asked: {because}")]
pub struct Unavailable {
    pub peer: &'static str,
    /// For the log; holds nothing that was sent.
    pub because: String,
    /// When the neighbour said when to come back.
    pub retry_after: Option<Duration>,
}

impl Unavailable {
    pub fn new(peer: &'static str, because: impl Into<String>) -> Self {
        Self { peer, because: because.into(), retry_after: None }
    }
}

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Refused(Refused),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It is done, and somebody may not have heard of it. Repeating waits like the first time.
    #[error("not yet known to hold everywhere")]
    NotEverywhere { retry_after: Option<Duration> },
}

/// What was done, though perhaps not yet everywhere, lets the next step be done too. The failure is for the end; any other is
/// returned now.
pub fn done<T>(outcome: Result<T, Failure>) -> Result<Result<T, Failure>, Failure> {
    match outcome {
        Ok(_) | Err(Failure::NotEverywhere { .. }) => Ok(outcome),
        Err(failure) => Err(failure),
    }
}

impl Failure {
    /// For a call in which the caller has no part that could be refused: whatever is not an answer is an outage.
    pub fn outage(self, peer: &'static str) -> Unavailable {
        match self {
            Self::Unavailable(unavailable) => unavailable,
            Self::NotEverywhere { .. } => Unavailable::new(peer, "not yet known to hold everywhere"),
            Self::Refused(refused) => {
                Unavailable::new(peer, format!("refused {}: {}", refused.reason.name(), refused.message))
            }
        }
    }
}

/// An answer of no.
#[derive(Debug, thiserror::Error)]
#[error("refused: {reason:?}")]
pub struct Refused {
    pub reason: Reason,
    /// The neighbour's sentence; safe to show.
    pub message: String,
    pub retry_after: Option<Duration>,
}

/// A secret in transit: never printed, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Concealed(String);

impl Concealed {
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself: for a cookie, a body to its owner, or the next call. Never for a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Concealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Concealed")
    }
}

impl Drop for Concealed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// 1 to 1,000; 0 means the service's default of 100.
    pub size: u32,
    /// Empty: the first page.
    pub token: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Empty on the last page.
    pub next: String,
}
