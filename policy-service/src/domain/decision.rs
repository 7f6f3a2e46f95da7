//! The decision itself: a total function of what a principal holds and what is asked. Nothing allows except a grant whose
//! role has the permission and which counts for the resource; everything else is a deny.

use std::collections::{BTreeMap, BTreeSet};

use super::grant::{Grant, GrantId};
use super::name::RoleName;
use super::permission::{Permission, PermissionPattern};
use super::resource::Resource;
use super::subject::Principal;

/// May this principal do that, there?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub principal: Principal,
    pub permission: Permission,
    /// `None`: only grants that hold everywhere count.
    pub resource: Option<Resource>,
}

/// What a principal holds at one revision: its own grants, those of every group it is in, directly or through other
/// groups, and the permissions of the roles that they give.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    pub grants: Vec<Grant>,
    pub permissions: BTreeMap<RoleName, BTreeSet<PermissionPattern>>,
}

/// Allow or deny, with what determined it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Every grant that allows it, sorted; never empty.
    Allow { grants: Vec<GrantId> },
    /// Nothing that is held allows it.
    Deny,
}

/// Decides. `held` may hold more than bears on the question, and the answer does not change by it.
pub fn decide(held: &Holdings, permission: &Permission, resource: Option<&Resource>) -> Decision {
    let has_permission = |role: &RoleName| {
        held.permissions.get(role).is_some_and(|patterns| patterns.iter().any(|held| held.allows(permission)))
    };
    let mut grants: Vec<GrantId> = held
        .grants
        .iter()
        .filter(|grant| grant.counts_for(resource) && has_permission(&grant.role))
        .map(|grant| grant.id.clone())
        .collect();
    if grants.is_empty() {
        return Decision::Deny;
    }
    grants.sort_unstable();
    grants.dedup();
    Decision::Allow { grants }
}

#[cfg(test)]
mod tests;
