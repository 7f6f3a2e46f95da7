//! A grant gives a role to a user, a client or a group, everywhere or within one resource.

use std::fmt;

use super::name::RoleName;
use super::resource::Resource;
use super::subject::{Subject, is_id};

/// What a grant's id begins with.
pub const ID_PREFIX: &str = "grt_";

/// A grant's id that is not `grt_` and 26 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a grant's id is grt_ and 26 characters of 0-9 and a-z without i, l, o and u")]
pub struct GrantIdInvalid;

/// `grt_` and 26 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId(Box<str>);

/// A role, who holds it, and where it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub id: GrantId,
    pub subject: Subject,
    pub role: RoleName,
    /// `None`: everywhere.
    pub within: Option<Resource>,
}

/// Which grants a list holds.
#[derive(Debug, Clone, Default)]
pub struct GrantFilter {
    /// `None`: of everybody. Only its own grants, not those of its groups.
    pub subject: Option<Subject>,
    /// `None`: of every role.
    pub role: Option<RoleName>,
}

impl GrantId {
    /// Parses a grant's id.
    pub fn parse(text: &str) -> Result<Self, GrantIdInvalid> {
        if is_id(ID_PREFIX, text) { Ok(Self(text.into())) } else { Err(GrantIdInvalid) }
    }

    /// `grt_…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Grant {
    /// Whether it counts for that resource. A grant within a resource counts for exactly that one, so it never counts
    /// where no resource is named: "may read *some* document" does not mean "may read documents".
    pub fn counts_for(&self, resource: Option<&Resource>) -> bool {
        match &self.within {
            None => true,
            Some(within) => resource == Some(within),
        }
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Principal;

    #[test]
    fn ids_are_parsed() {
        assert!(GrantId::parse("grt_0123456789abcdefghjkmnpqrs").is_ok());
        for bad in ["", "grt_", "usr_0123456789abcdefghjkmnpqrs", "grt_0123456789abcdefghjkmnpqrS"] {
            assert_eq!(GrantId::parse(bad), Err(GrantIdInvalid), "{bad:?}");
        }
    }

    #[test]
    fn where_a_grant_counts() {
        let of = |text: &str| {
            let (kind, id) = text.split_once('/').unwrap();
            Resource::parse(kind, id).unwrap()
        };
        for (within, resource, counts) in [
            (None, None, true),
            (None, Some("document/42"), true),
            (Some("document/42"), None, false),
            (Some("document/42"), Some("document/42"), true),
            (Some("document/42"), Some("document/43"), false),
            (Some("document/42"), Some("document/421"), false),
            (Some("document/42"), Some("folder/42"), false),
            (Some("document/42"), Some("document/42/page/1"), false),
        ] {
            let grant = Grant {
                id: GrantId::parse("grt_0123456789abcdefghjkmnpqrs").unwrap(),
                subject: Principal::user("usr_0123456789abcdefghjkmnpqrs").unwrap().into(),
                role: RoleName::parse("editor").unwrap(),
                within: within.map(of),
            };
            let resource = resource.map(of);
            assert_eq!(grant.counts_for(resource.as_ref()), counts, "{within:?} for {resource:?}");
        }
    }
}
