//! Roles, grants and groups as lists for administration.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool};

use crate::domain::{Grant, GrantFilter, GrantId, Group, GroupName, Page, Role, RoleName, Slice};
use crate::store::{StoreError, pages, row};

pub(super) async fn role(
    connection: &mut SqliteConnection,
    name: &RoleName,
) -> Result<Option<Role>, StoreError> {
    let built_in: Option<bool> = sqlx::query_scalar("SELECT built_in FROM roles WHERE name = ?1")
        .bind(name.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(built_in) = built_in else { return Ok(None) };
    let patterns: Vec<String> = sqlx::query_scalar("SELECT pattern FROM role_permissions WHERE role = ?1")
        .bind(name.as_str())
        .fetch_all(&mut *connection)
        .await?;
    pages::role(name, built_in, &patterns).map(Some)
}

pub(super) async fn roles(
    connection: &mut SqliteConnection,
    page: &Page<RoleName>,
) -> Result<Slice<Role>, StoreError> {
    let after = page.after.as_ref().map_or("", RoleName::as_str);
    let found: Vec<(String, bool, i64)> = sqlx::query_as(
        "SELECT name, built_in, (SELECT count(*) FROM role_permissions WHERE role = name) FROM roles
         WHERE name > ?1 ORDER BY name LIMIT ?2",
    )
    .bind(after)
    .bind(page.size.get() + 1)
    .fetch_all(&mut *connection)
    .await?;
    let mut slice = pages::roles(&found, page.size)?;
    let last = slice.entries.last().map_or(after, |role| role.name.as_str());
    let parts: Vec<(String, String)> = sqlx::query_as(
        "SELECT role, pattern FROM role_permissions WHERE role > ?1 AND role <= ?2 ORDER BY role, pattern",
    )
    .bind(after)
    .bind(last)
    .fetch_all(&mut *connection)
    .await?;
    pages::permit(&mut slice.entries, parts)?;
    Ok(slice)
}

pub(super) async fn grants(
    readers: &SqlitePool,
    filter: &GrantFilter,
    page: &Page<GrantId>,
) -> Result<Slice<Grant>, StoreError> {
    // Built from what is asked, so that each filter finds its index.
    let mut sql = QueryBuilder::<Sqlite>::new(
        "SELECT id, subject_kind, subject_id, role, within_kind, within_id FROM grants WHERE id > ",
    );
    sql.push_bind(page.after.as_ref().map_or("", GrantId::as_str));
    if let Some(subject) = &filter.subject {
        sql.push(" AND subject_kind = ").push_bind(row::kind(subject));
        sql.push(" AND subject_id = ").push_bind(subject.id());
    }
    if let Some(role) = &filter.role {
        sql.push(" AND role = ").push_bind(role.as_str());
    }
    sql.push(" ORDER BY id LIMIT ").push_bind(page.size.get() + 1);
    let rows: Vec<row::GrantRow> = sql.build_query_as().fetch_all(readers).await?;
    pages::grants(rows, page.size)
}

pub(super) async fn groups(
    connection: &mut SqliteConnection,
    page: &Page<GroupName>,
) -> Result<Slice<Group>, StoreError> {
    let after = page.after.as_ref().map_or("", GroupName::as_str);
    let found: Vec<(String, i64)> = sqlx::query_as(
        "SELECT name, (SELECT count(*) FROM group_members WHERE group_name = name) FROM groups
         WHERE name > ?1 ORDER BY name LIMIT ?2",
    )
    .bind(after)
    .bind(page.size.get() + 1)
    .fetch_all(&mut *connection)
    .await?;
    let mut slice = pages::groups(&found, page.size)?;
    let last = slice.entries.last().map_or(after, |group| group.name.as_str());
    let parts: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT group_name, member_kind, member_id FROM group_members
         WHERE group_name > ?1 AND group_name <= ?2 ORDER BY group_name",
    )
    .bind(after)
    .bind(last)
    .fetch_all(&mut *connection)
    .await?;
    pages::join(&mut slice.entries, parts)?;
    Ok(slice)
}
