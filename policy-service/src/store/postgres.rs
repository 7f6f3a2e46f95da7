//! The store in one PostgreSQL schema, for any number of replicas; how it is reached is [`chassis::postgres`]'s.

use async_trait::async_trait;
use chassis::lifecycle::Readiness;
use chassis::postgres::Database;
use sqlx::migrate::Migrator;

use super::{
    Entries, GrantCreated, GroupCreated, MemberAdded, MemberRemoved, RoleDeleted, RolePut, Store, StoreError,
};
use crate::domain::{
    At, Grant, GrantFilter, GrantId, Group, GroupName, Holdings, Page, Principal, Question, Revision, Role,
    RoleName, Slice, Subject,
};

mod list;
mod read;
mod write;

pub use chassis::postgres::{Applied, OpenError, Settings as PostgresSettings};

/// Forward only; each file is applied once, in the order of its timestamp.
static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Roles, grants and groups in one schema.
#[derive(Debug)]
pub struct PostgresStore(Database, Entries);

impl PostgresStore {
    /// Waits for the database and its schema, and says on `readiness` what for.
    pub async fn open(
        settings: &PostgresSettings,
        entries: Entries,
        readiness: &Readiness,
    ) -> Result<Self, OpenError> {
        Ok(Self(Database::open(settings, &MIGRATIONS, readiness).await?, entries))
    }

    /// Brings the schema up to this version.
    pub async fn migrate(settings: &PostgresSettings) -> Result<Applied, OpenError> {
        Database::migrate(settings, &MIGRATIONS).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn holdings_for(&self, questions: &[Question]) -> Result<At<Vec<Holdings>>, StoreError> {
        self.0
            .run("holdings_for", |attempt| async move {
                read::holdings_for(attempt.connection().await?, questions).await
            })
            .await
    }

    async fn holdings_of(&self, principal: &Principal) -> Result<At<Holdings>, StoreError> {
        self.0
            .run("holdings_of", |attempt| async move {
                read::holdings_of(attempt.snapshot().await?, principal).await
            })
            .await
    }

    async fn role(&self, name: &RoleName) -> Result<Option<Role>, StoreError> {
        self.0
            .run("role", |attempt| async move { list::role(&mut *attempt.snapshot().await?, name).await })
            .await
    }

    async fn roles(&self, page: &Page<RoleName>) -> Result<Slice<Role>, StoreError> {
        self.0.run("roles", |attempt| async move { list::roles(attempt.snapshot().await?, page).await }).await
    }

    async fn grants(&self, filter: &GrantFilter, page: &Page<GrantId>) -> Result<Slice<Grant>, StoreError> {
        self.0
            .run(
                "grants",
                |attempt| async move { list::grants(attempt.connection().await?, filter, page).await },
            )
            .await
    }

    async fn groups(&self, page: &Page<GroupName>) -> Result<Slice<Group>, StoreError> {
        self.0
            .run("groups", |attempt| async move { list::groups(attempt.snapshot().await?, page).await })
            .await
    }

    async fn put_role(&self, role: &Role) -> Result<RolePut, StoreError> {
        self.0
            .run("put_role", |attempt| async move {
                write::put_role(write::begin(&attempt).await?, &self.1, role).await
            })
            .await
    }

    async fn delete_role(&self, name: &RoleName) -> Result<RoleDeleted, StoreError> {
        self.0
            .run("delete_role", |attempt| async move {
                write::delete_role(write::begin(&attempt).await?, &self.1, name).await
            })
            .await
    }

    async fn create_grant(&self, grant: &Grant) -> Result<GrantCreated, StoreError> {
        self.0
            .run("create_grant", |attempt| async move {
                write::create_grant(write::begin(&attempt).await?, &self.1, grant).await
            })
            .await
    }

    async fn delete_grant(&self, id: &GrantId) -> Result<Option<Revision>, StoreError> {
        self.0
            .run("delete_grant", |attempt| async move {
                write::delete_grant(write::begin(&attempt).await?, &self.1, id).await
            })
            .await
    }

    async fn create_group(&self, name: &GroupName) -> Result<GroupCreated, StoreError> {
        self.0
            .run("create_group", |attempt| async move {
                write::create_group(write::begin(&attempt).await?, &self.1, name).await
            })
            .await
    }

    async fn delete_group(&self, name: &GroupName) -> Result<Option<Revision>, StoreError> {
        self.0
            .run("delete_group", |attempt| async move {
                write::delete_group(write::begin(&attempt).await?, &self.1, name).await
            })
            .await
    }

    async fn add_group_member(&self, group: &GroupName, member: &Subject) -> Result<MemberAdded, StoreError> {
        self.0
            .run("add_group_member", |attempt| async move {
                write::add_group_member(write::begin(&attempt).await?, &self.1, group, member).await
            })
            .await
    }

    async fn remove_group_member(
        &self,
        group: &GroupName,
        member: &Subject,
    ) -> Result<MemberRemoved, StoreError> {
        self.0
            .run("remove_group_member", |attempt| async move {
                write::remove_group_member(write::begin(&attempt).await?, &self.1, group, member).await
            })
            .await
    }

    async fn forget(&self, principal: &Principal) -> Result<Revision, StoreError> {
        self.0
            .run("forget", |attempt| async move {
                write::forget(write::begin(&attempt).await?, &self.1, principal).await
            })
            .await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}
