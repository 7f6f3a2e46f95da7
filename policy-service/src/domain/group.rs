//! A group: a named set of users, clients and groups. Memberships form no circle; the store holds that, because only its
//! transaction sees two concurrent additions that would close one together.

use std::collections::BTreeSet;

use super::name::GroupName;
use super::subject::Subject;

/// A group with its direct members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: GroupName,
    pub members: BTreeSet<Subject>,
}
