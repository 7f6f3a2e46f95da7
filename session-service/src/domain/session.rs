//! One session as everybody but its cookie knows it, and the rule when it still counts.

use time::OffsetDateTime;

use super::{Attributes, Lifetimes, SessionId, Subject};

/// What a login proof said and where it was presented: never changed after the session is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub subject: Subject,
    pub username: String,
    /// The subject's epoch as auth-service's row had it when it authorised the login.
    pub epoch: u64,
    /// RFC 8176 names.
    pub methods: Vec<String>,
    pub authenticated_at: OffsetDateTime,
    pub user_agent: String,
    pub client_address: String,
}

impl Origin {
    /// A header that a client chose is kept only so far.
    pub const MOST_USER_AGENT_BYTES: usize = 256;
    pub const MOST_ADDRESS_BYTES: usize = 64;

    /// The start of `text`, cut between characters.
    pub fn cut(text: &str, most_bytes: usize) -> String {
        text.get(..text.floor_char_boundary(most_bytes)).unwrap_or_default().to_owned()
    }
}

/// A session that nobody has ended. Whether its time is up depends on the moment: [`Session::is_live`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub origin: Origin,
    pub created_at: OffsetDateTime,
    pub last_active_at: OffsetDateTime,
    pub absolute_expires_at: OffsetDateTime,
    /// Raised by each change of the attributes.
    pub attributes_version: u64,
    pub attributes: Attributes,
}

impl Session {
    /// A session begins with activity and without attributes.
    pub fn begin(id: SessionId, origin: Origin, now: OffsetDateTime, lifetimes: &Lifetimes) -> Session {
        Session {
            id,
            origin,
            created_at: now,
            last_active_at: now,
            absolute_expires_at: now + lifetimes.absolute,
            attributes_version: 0,
            attributes: Attributes::default(),
        }
    }

    /// Never later than the absolute expiry: activity does not extend that one.
    pub fn idle_expires_at(&self, lifetimes: &Lifetimes) -> OffsetDateTime {
        (self.last_active_at + lifetimes.idle).min(self.absolute_expires_at)
    }

    pub fn is_live(&self, now: OffsetDateTime, lifetimes: &Lifetimes) -> bool {
        now < self.idle_expires_at(lifetimes)
    }

    /// The same session, active at this moment too. Never takes activity back: moments may arrive out of order.
    pub fn active_at(mut self, at: OffsetDateTime) -> Session {
        self.last_active_at = self.last_active_at.max(at);
        self
    }
}

/// Why a session ended, as its tombstone says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its own subject ended it.
    Logout,
    /// An administrator ended it.
    Administration,
    /// A login beyond the limit pushed it out.
    Limit,
    /// Its browser logged in anew.
    Replaced,
    /// Its time was up when somebody looked.
    Expired,
}

impl EndReason {
    pub const ALL: [EndReason; 5] = [
        EndReason::Logout,
        EndReason::Administration,
        EndReason::Limit,
        EndReason::Replaced,
        EndReason::Expired,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Logout => "logout",
            EndReason::Administration => "administration",
            EndReason::Limit => "limit",
            EndReason::Replaced => "replaced",
            EndReason::Expired => "expired",
        }
    }
}

#[cfg(test)]
mod tests;
