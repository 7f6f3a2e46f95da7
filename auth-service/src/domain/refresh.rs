//! Refresh tokens: a family of them descends from one login, each replaced by the next when it is used.
//!
//! Only one token of a family is unspent. Using a spent one again means that two parties hold it: within the grace window
//! that is a retry or a race of one client, which gets the very successor that is already there; after it, it is theft,
//! and the family ends (RFC 9700 §4.14.2).

use std::time::Duration;

use time::OffsetDateTime;
use token::Epochs;

use super::{
    client::Client,
    id::{ClientId, FamilyId, UserId},
    scope::Scope,
    secret::Digest,
    user::{Status, User},
};

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshPolicy {
    /// A token that is not used for so long is dead.
    pub idle: Duration,
    /// A family is dead so long after its login.
    pub absolute: Duration,
    /// For so long after a rotation its repetition is answered alike. Zero is strict: any repetition is theft.
    pub grace: Duration,
}

/// All refresh tokens that descend from one login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    pub id: FamilyId,
    pub subject: UserId,
    pub client: ClientId,
    /// Copied from the rows that authorised the login.
    pub epochs: Epochs,
    pub scope: Scope,
    pub audience: String,
    /// How the user was authenticated (RFC 8176).
    pub amr: Vec<String>,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub ended: bool,
}

/// One refresh token of a family, by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub digest: Digest,
    pub expires_at: OffsetDateTime,
    pub use_: Use,
}

/// Whether a token was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    Unspent,
    /// The successor is sealed under a key derived from this token, and wiped when the window closes.
    Spent {
        at: OffsetDateTime,
        successor: Option<Vec<u8>>,
    },
}

/// Everything that decides about a presented token, as one read found it.
#[derive(Clone, Debug)]
pub struct Standing {
    pub link: Link,
    pub family: Family,
    /// `None` once deleted.
    pub user: Option<User>,
    pub client: Option<Client>,
}

/// What becomes of a presented token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Spend it and issue its successor.
    Rotate,
    /// Just spent: answer with the successor sealed here.
    Repeat { successor: Vec<u8> },
    /// Spent too long ago: end the family.
    Theft,
    /// Good for nothing any more.
    Dead(Death),
}

/// Why a token is dead: for the audit line, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    OtherClient,
    Ended,
    Expired,
    Idle,
    Subject,
    Client,
}

impl Death {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherClient => "other_client",
            Self::Ended => "family_ended",
            Self::Expired => "family_expired",
            Self::Idle => "idle",
            Self::Subject => "subject_void",
            Self::Client => "client_void",
        }
    }
}

impl Standing {
    /// The rules, in the order in which they hide least from the audit. The conditional statement that rotates repeats
    /// every one of them.
    pub fn judge(&self, presenter: &ClientId, policy: &RefreshPolicy, now: OffsetDateTime) -> Verdict {
        if let Some(death) = self.death(presenter, now) {
            return Verdict::Dead(death);
        }
        match &self.link.use_ {
            Use::Unspent if now >= self.link.expires_at => Verdict::Dead(Death::Idle),
            Use::Unspent => Verdict::Rotate,
            Use::Spent { at, successor: Some(successor) } if now < *at + policy.grace => {
                Verdict::Repeat { successor: successor.clone() }
            }
            Use::Spent { .. } => Verdict::Theft,
        }
    }

    /// Whether tokens of this family are good for anything at `now`, whatever became of the presented one.
    pub fn is_alive(&self, now: OffsetDateTime) -> bool {
        self.death(&self.family.client, now).is_none()
    }

    fn death(&self, presenter: &ClientId, now: OffsetDateTime) -> Option<Death> {
        let family = &self.family;
        let user_holds = self.user.as_ref().is_some_and(|user| {
            user.id == family.subject && user.status == Status::Active && user.epoch == family.epochs.subject
        });
        let client_holds = self.client.as_ref().is_some_and(|client| {
            client.id == family.client
                && client.status == Status::Active
                && client.epoch == family.epochs.client
        });
        if family.client != *presenter {
            Some(Death::OtherClient)
        } else if family.ended {
            Some(Death::Ended)
        } else if now >= family.expires_at {
            Some(Death::Expired)
        } else if !user_holds {
            Some(Death::Subject)
        } else if !client_holds {
            Some(Death::Client)
        } else {
            None
        }
    }
}

impl RefreshPolicy {
    /// When a token issued now is idle too long; never after its family.
    pub fn idle_until(&self, family_expires_at: OffsetDateTime, now: OffsetDateTime) -> OffsetDateTime {
        (now + self.idle).min(family_expires_at)
    }
}

#[cfg(test)]
mod tests;
