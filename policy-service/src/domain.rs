//! What a permission, a role, a grant and a group are, and when they allow something: pure, so that every rule can be
//! tested as a table and a property, and so that a decision never depends on anything but what it is given.

pub mod decision;
pub mod grant;
pub mod group;
pub mod name;
pub mod page;
pub mod permission;
pub mod resource;
pub mod revision;
pub mod role;
pub mod subject;
pub mod subject_roles;

pub use decision::{Decision, Holdings, Question, decide};
pub use grant::{Grant, GrantFilter, GrantId};
pub use group::Group;
pub use name::{GroupName, RoleName};
pub use page::{Page, PageSize, Slice};
pub use permission::{Permission, PermissionPattern};
pub use resource::Resource;
pub use revision::{At, Revision};
pub use role::Role;
pub use subject::{Principal, Subject};
pub use subject_roles::SubjectRoles;
