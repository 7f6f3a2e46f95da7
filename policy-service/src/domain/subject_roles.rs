//! What a principal holds, as tokens, headers and `/v1/me` show it: the roles that hold everywhere as names, and what holds
//! only within a resource as grants, so that nobody takes the one for the other.

use std::collections::BTreeSet;

use super::decision::Holdings;
use super::grant::Grant;
use super::name::RoleName;
use super::permission::PermissionPattern;

/// A principal's holdings, summed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectRoles {
    /// Held everywhere.
    pub roles: BTreeSet<RoleName>,
    /// Of those roles.
    pub permissions: BTreeSet<PermissionPattern>,
    /// Held within a resource only, in the order of the holdings.
    pub within: Vec<Grant>,
}

impl SubjectRoles {
    /// Sums up.
    pub fn of(held: Holdings) -> Self {
        let (within, everywhere): (Vec<Grant>, Vec<Grant>) =
            held.grants.into_iter().partition(|grant| grant.within.is_some());
        let roles: BTreeSet<RoleName> = everywhere.into_iter().map(|grant| grant.role).collect();
        let permissions =
            roles.iter().filter_map(|role| held.permissions.get(role)).flatten().cloned().collect();
        Self { roles, permissions, within }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{GrantId, Principal, Resource};

    #[test]
    fn what_holds_within_a_resource_is_no_role_held_everywhere() {
        let grant = |number: u32, role: &str, within: Option<&str>| Grant {
            id: GrantId::parse(&format!("grt_{number:026}")).unwrap(),
            subject: Principal::user("usr_00000000000000000000000000").unwrap().into(),
            role: RoleName::parse(role).unwrap(),
            within: within.map(|id| Resource::parse("document", id).unwrap()),
        };
        let role = |name: &str| RoleName::parse(name).unwrap();
        let patterns =
            |texts: &[&str]| texts.iter().map(|text| PermissionPattern::parse(text).unwrap()).collect();
        let scoped = grant(3, "owner", Some("42"));
        let held = Holdings {
            grants: vec![
                grant(1, "reader", None),
                grant(2, "reader", None),
                scoped.clone(),
                grant(4, "bare", None),
            ],
            permissions: [
                (role("reader"), patterns(&["document:read"])),
                (role("owner"), patterns(&["document:*"])),
                (role("bare"), patterns(&[])),
            ]
            .into(),
        };
        assert_eq!(
            SubjectRoles::of(held),
            SubjectRoles {
                roles: [role("bare"), role("reader")].into(),
                permissions: patterns(&["document:read"]),
                within: vec![scoped],
            }
        );
    }
}
