//! What the log holds: changes, each at its position in the one order that every replica sees.

use std::sync::Arc;

use crate::time::Wall;

/// What a change names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// One access token, by its `jti`.
    Token,
    /// Everything that descends from one login.
    Family,
    Session,
    /// A user's or client's credentials below a generation.
    Subject,
    Client,
    /// A signing key, by its `kid`: void is what it signed.
    Key,
    /// Somebody's roles changed: nothing ends, but roles read before are outdated.
    Principal,
    /// As `Principal`, for everybody.
    All,
}

impl What {
    pub const EVERY: [Self; 8] = [
        Self::Token,
        Self::Family,
        Self::Session,
        Self::Subject,
        Self::Client,
        Self::Key,
        Self::Principal,
        Self::All,
    ];

    /// As it is written in a database and in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Family => "family",
            Self::Session => "session",
            Self::Subject => "subject",
            Self::Client => "client",
            Self::Key => "key",
            Self::Principal => "principal",
            Self::All => "all",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|what| what.name() == name)
    }

    /// Whether such a change makes roles outdated instead of ending something.
    pub fn outdates_roles(self) -> bool {
        matches!(self, Self::Principal | Self::All)
    }
}

/// How long an id may be, in bytes.
pub const MAX_KEY: usize = 256;

/// The thing that a change names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    pub what: What,
    /// Its public id; empty for [`What::All`].
    pub key: Arc<str>,
}

impl Target {
    pub fn new(what: What, key: impl Into<Arc<str>>) -> Self {
        Self { what, key: key.into() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub target: Target,
    /// What was issued under a lower number is void; absent: everything is. For [`What::outdates_roles`] a permission
    /// version, and absent means the change's own position.
    pub min: Option<u64>,
    /// The public id of the one session or family that a raised generation spares.
    pub except: Option<Arc<str>>,
    /// From then on nothing that the change could concern is alive, whatever this change says: see [`crate::issuer`].
    pub until: Wall,
}

impl Change {
    /// Whether watchers would take it: those refuse ids that are empty, or longer than [`MAX_KEY`].
    pub fn is_well_formed(&self) -> bool {
        let id = |id: &str| !id.is_empty() && id.len() <= MAX_KEY;
        let target =
            if self.target.what == What::All { self.target.key.is_empty() } else { id(&self.target.key) };
        target && self.except.as_deref().is_none_or(id)
    }
}

/// 64 random bits with each entry. A log that lost its tail and was filled again has other tags at the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// A place in the log. Numbers are in commit order and without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub number: u64,
    pub tag: Tag,
}

impl Position {
    /// Before the first entry.
    pub const START: Self = Self { number: 0, tag: Tag(0) };
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub position: Position,
    pub change: Change,
}

impl Entry {
    /// The version from which on roles are not outdated by it; `None` if it outdates none.
    pub fn roles_version(&self) -> Option<u64> {
        let Change { target, min, .. } = &self.change;
        target.what.outdates_roles().then(|| min.unwrap_or(self.position.number))
    }
}

/// Entries that follow one another, and the position that the first of them follows: whoever is there, or beyond it, on the
/// same history, can take them in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    pub after: Position,
    pub entries: Arc<[Entry]>,
}

impl Tail {
    pub(crate) fn nothing(at: Position) -> Self {
        Self { after: at, entries: [].into() }
    }

    pub(crate) fn is_unbroken(&self) -> bool {
        (1..)
            .zip(&*self.entries)
            .all(|(place, entry)| self.after.number.checked_add(place) == Some(entry.position.number))
    }
}
