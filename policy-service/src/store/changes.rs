//! What a write leaves in the feed's log, in its own transaction: whose roles are not what they were.

use std::time::Duration;

use chassis::{clock::SharedClock, entropy::SharedEntropy};
use feed::{Change, Tag, Target, What, issuer::Bounds, log::Appended};

use crate::domain::{Principal, Revision, Subject};

/// Whose roles a write may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose<'a> {
    /// An empty group was made.
    Nobodys,
    Principals(&'a str),
    /// A role was redefined, or a group has to do with it: one change, however many hold it.
    Everybodys,
}

impl<'a> Whose<'a> {
    pub(super) fn of(subject: &'a Subject) -> Self {
        match subject {
            Subject::Principal(principal) => Self::of_principal(principal),
            Subject::Group(_) => Self::Everybodys,
        }
    }

    pub(super) fn of_principal(principal: &'a Principal) -> Self {
        Self::Principals(principal.id())
    }
}

/// What entries are made with.
#[derive(Debug, Clone)]
pub struct Entries {
    pub clock: SharedClock,
    pub entropy: SharedEntropy,
    /// Of the tokens that roles are in.
    pub longest_token: Duration,
}

impl Entries {
    /// The entry of the write that made this revision: roles that were read before it are outdated.
    ///
    /// Made right before it is appended, for it is remembered from the time that is read here. From then to the commit PostgreSQL
    /// waits for a client no longer than `idle_in_transaction_session_timeout`; nobody watches over that on a SQLite file, between
    /// whose last two statements a machine could be suspended for a day.
    pub(super) fn entry(&self, whose: Whose<'_>, revision: Revision) -> Option<Appended> {
        let target = match whose {
            Whose::Nobodys => return None,
            Whose::Principals(id) => Target::new(What::Principal, id),
            Whose::Everybodys => Target::new(What::All, ""),
        };
        let mut tag = [0; 8];
        self.entropy.fill(&mut tag);
        let wall = feed::grpc::clock(self.clock.clone()).now().wall;
        let until = Bounds::DEFAULT.until(wall, self.longest_token);
        let change = Change { target, min: Some(revision.0), except: None, until };
        Some(Appended { tag: Tag(u64::from_be_bytes(tag)), change })
    }
}
