//! What a credential must carry so that a memory of endings can judge it (rules I1 and I3).

use std::sync::Arc;

use crate::{change::What, time::Wall};

/// An id with the generation that was read from the row that authorised the issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub id: Arc<str>,
    pub generation: u64,
}

/// The names that a credential goes by. What a kind of credential does not have is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credential {
    pub token: Option<Arc<str>>,
    pub family: Option<Arc<str>>,
    pub session: Option<Arc<str>>,
    /// The `kid` of the key that signed it.
    pub key: Option<Arc<str>>,
    pub subject: Option<Stamp>,
    pub client: Option<Stamp>,
    pub roles: Option<Roles>,
    /// From then on nobody believes it, leeway included.
    pub expired_from: Option<Wall>,
}

/// The roles that a credential carries, and how old they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// The principal and every group that they were read through.
    pub principals: Vec<Arc<str>>,
    /// The policy feed's position after which the answer was computed that gave the roles.
    pub version: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Live,
    /// Void, and by which kind of ending.
    Ended(What),
    /// So old that what ended it may have been forgotten.
    Forgotten,
    /// Valid, but its roles must be asked again, from a replica that has applied `at_least`.
    RolesOutdated {
        at_least: u64,
    },
}
