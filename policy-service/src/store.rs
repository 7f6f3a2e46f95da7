//! What policy-service remembers, as promises that an adapter keeps; `tests/it/conformance.rs` holds every adapter to them.
//!
//! - A read is one snapshot: whatever it returns together held together, at the revision that it names.
//! - A write is one transaction: it is durable when it is answered, raises the revision by exactly one when it changed
//!   something, and otherwise answers the current revision. Two writes never share a revision. What it changed of anybody's
//!   roles it appends to the feed's log in the same transaction.
//! - A failure is an error and never an answer: nothing is "not found" because the store could not be asked. After an
//!   error a write may or may not have happened; each one may be repeated.

use async_trait::async_trait;

use crate::domain::{
    At, Grant, GrantFilter, GrantId, Group, GroupName, Holdings, Page, Principal, Question, Revision, Role,
    RoleName, Slice, Subject,
};

mod changes;
mod held;
mod pages;
pub mod postgres;
mod row;
pub mod sqlite;

pub use changes::Entries;

/// The store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It could not be reached, was busy for too long, or failed.
    #[error("the policy store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It answered something that this service never wrote.
    #[error("the policy store is corrupt")]
    Corrupt(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Outcome of [`Store::put_role`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolePut {
    Put(Revision),
    BuiltIn,
}

/// Outcome of [`Store::delete_role`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleDeleted {
    Deleted(Revision),
    NotFound,
    BuiltIn,
}

/// Outcome of [`Store::create_grant`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantCreated {
    /// The grant as it is held: the given one, or the one that was there with an id of its own.
    Held(At<Grant>),
    RoleNotFound,
    GroupNotFound,
}

/// Outcome of [`Store::create_group`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupCreated {
    Created(Revision),
    Taken,
}

/// Outcome of [`Store::add_group_member`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberAdded {
    /// It is a member now, or was one already.
    Member(Revision),
    /// The group, or the group that was to be its member.
    GroupNotFound(GroupName),
    /// The group would be inside itself.
    Cycle,
}

/// Outcome of [`Store::remove_group_member`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberRemoved {
    Removed(Revision),
    GroupNotFound,
    MemberNotFound,
}

/// Roles, grants, groups and their revision.
#[async_trait]
pub trait Store: Send + Sync {
    /// What each question's principal holds that bears on it, in the order of the questions, all in one snapshot. May
    /// leave out what cannot change [`crate::domain::decide`]'s answer.
    async fn holdings_for(&self, questions: &[Question]) -> Result<At<Vec<Holdings>>, StoreError>;
    /// All that a principal holds, by itself and by its groups. Grants in the order of their ids; the permissions of
    /// every role that a grant names.
    async fn holdings_of(&self, principal: &Principal) -> Result<At<Holdings>, StoreError>;

    async fn role(&self, name: &RoleName) -> Result<Option<Role>, StoreError>;
    /// By name. A page may be shorter than its size so that it stays small in bytes; [`Slice::more`] tells.
    async fn roles(&self, page: &Page<RoleName>) -> Result<Slice<Role>, StoreError>;
    /// By id.
    async fn grants(&self, filter: &GrantFilter, page: &Page<GrantId>) -> Result<Slice<Grant>, StoreError>;
    /// By name, with direct members. Shorter pages as for [`Store::roles`].
    async fn groups(&self, page: &Page<GroupName>) -> Result<Slice<Group>, StoreError>;

    /// Creates a role or replaces its permissions.
    async fn put_role(&self, role: &Role) -> Result<RolePut, StoreError>;
    /// Deletes a role and the grants that give it.
    async fn delete_role(&self, name: &RoleName) -> Result<RoleDeleted, StoreError>;
    /// Idempotent: one grant for each subject, role and place.
    async fn create_grant(&self, grant: &Grant) -> Result<GrantCreated, StoreError>;
    /// `None`: there is no such grant.
    async fn delete_grant(&self, id: &GrantId) -> Result<Option<Revision>, StoreError>;
    /// Creates an empty group.
    async fn create_group(&self, name: &GroupName) -> Result<GroupCreated, StoreError>;
    /// Deletes a group, its grants and its memberships. `None`: there is no such group.
    async fn delete_group(&self, name: &GroupName) -> Result<Option<Revision>, StoreError>;
    /// Idempotent. Of two concurrent additions that would close a circle together, one is refused.
    async fn add_group_member(&self, group: &GroupName, member: &Subject) -> Result<MemberAdded, StoreError>;
    async fn remove_group_member(
        &self,
        group: &GroupName,
        member: &Subject,
    ) -> Result<MemberRemoved, StoreError>;
    /// Removes every grant and membership of a principal. Idempotent.
    async fn forget(&self, principal: &Principal) -> Result<Revision, StoreError>;

    /// Lets go of files and connections, after the last call.
    async fn close(&self);
}
