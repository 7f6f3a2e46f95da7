//! Roles, grants, groups and decisions, as the gateway knows them.

use async_trait::async_trait;

use crate::peers::{Asker, Failure, Page, PageRequest, Unavailable};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    User,
    Client,
    Group,
}

impl SubjectKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Client => "client",
            Self::Group => "group",
        }
    }
}

/// A user's or client's id, or a group's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub kind: SubjectKind,
    pub id: String,
}

impl Subject {
    pub fn user(id: impl Into<String>) -> Self {
        Self { kind: SubjectKind::User, id: id.into() }
    }

    pub fn client(id: impl Into<String>) -> Self {
        Self { kind: SubjectKind::Client, id: id.into() }
    }

    pub fn group(name: impl Into<String>) -> Self {
        Self { kind: SubjectKind::Group, id: name.into() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub kind: String,
    pub id: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub subject: Subject,
    pub permission: String,
    /// None: only grants that hold everywhere count.
    pub resource: Option<Resource>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    pub allowed: bool,
    pub revision: u64,
    /// Ids of the grants that allowed it.
    pub grants: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectRoles {
    /// Held everywhere; sorted.
    pub roles: Vec<String>,
    pub permissions: Vec<String>,
    pub within: Vec<Grant>,
    pub revision: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub permissions: Vec<String>,
    pub built_in: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub id: String,
    pub subject: Subject,
    pub role: String,
    pub within: Option<Resource>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub members: Vec<Subject>,
}

/// policy-service.
#[async_trait]
pub trait Policy: Send + Sync {
    /// On the data path: short deadline. A deny is an answer (`allowed: false`), never a failure.
    async fn check(&self, asker: Asker<'_>, question: Question) -> Result<Decided, Failure>;
    /// On the data path: short deadline.
    async fn subject_roles(&self, asker: Asker<'_>, subject: Subject) -> Result<SubjectRoles, Unavailable>;

    async fn role(&self, asker: Asker<'_>, name: &str) -> Result<Role, Failure>;
    async fn roles(&self, asker: Asker<'_>, page: PageRequest) -> Result<Page<Role>, Failure>;
    async fn put_role(
        &self,
        asker: Asker<'_>,
        name: String,
        permissions: Vec<String>,
    ) -> Result<(Role, u64), Failure>;
    async fn delete_role(&self, asker: Asker<'_>, name: &str) -> Result<u64, Failure>;
    /// `subject` None: of everybody; `role` None: of every role.
    async fn grants(
        &self,
        asker: Asker<'_>,
        subject: Option<Subject>,
        role: Option<&str>,
        page: PageRequest,
    ) -> Result<Page<Grant>, Failure>;
    async fn create_grant(
        &self,
        asker: Asker<'_>,
        subject: Subject,
        role: String,
        within: Option<Resource>,
    ) -> Result<(Grant, u64), Failure>;
    async fn delete_grant(&self, asker: Asker<'_>, id: &str) -> Result<u64, Failure>;
    async fn groups(&self, asker: Asker<'_>, page: PageRequest) -> Result<Page<Group>, Failure>;
    async fn create_group(&self, asker: Asker<'_>, name: String) -> Result<(Group, u64), Failure>;
    async fn delete_group(&self, asker: Asker<'_>, name: &str) -> Result<u64, Failure>;
    async fn add_member(&self, asker: Asker<'_>, group: &str, member: Subject) -> Result<u64, Failure>;
    async fn remove_member(&self, asker: Asker<'_>, group: &str, member: Subject) -> Result<u64, Failure>;
    async fn forget_subject(&self, asker: Asker<'_>, subject: Subject) -> Result<u64, Failure>;
}
