//! Roles, grants and groups as lists for administration.

use std::collections::BTreeSet;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool};

use super::row;
use crate::domain::{Grant, GrantFilter, GrantId, Group, GroupName, Page, Role, RoleName, Slice};
use crate::store::StoreError;

/// How many permissions or members a page holds before it ends early, so that it stays well below the size that a gRPC
/// client takes (4 MiB).
const PAGE_PARTS: i64 = 10_000;

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
    let permissions = patterns.iter().map(|text| row::pattern(text)).collect::<Result<_, _>>()?;
    Ok(Some(Role { name: name.clone(), permissions, built_in }))
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
    let (fitting, more) = fitting(found.iter().map(|(_, _, parts)| *parts), page.size.get() as usize);
    let mut entries = Vec::with_capacity(fitting);
    for (name, built_in, _) in found.iter().take(fitting) {
        entries.push(Role { name: row::role_name(name)?, permissions: BTreeSet::new(), built_in: *built_in });
    }
    let last = entries.last().map_or(after, |role| role.name.as_str());
    let parts: Vec<(String, String)> = sqlx::query_as(
        "SELECT role, pattern FROM role_permissions WHERE role > ?1 AND role <= ?2 ORDER BY role, pattern",
    )
    .bind(after)
    .bind(last)
    .fetch_all(&mut *connection)
    .await?;
    // Both lists are sorted by name: each part belongs to the entry reached so far or to one behind it.
    let mut parts = parts.into_iter().peekable();
    for role in &mut entries {
        while let Some((_, pattern)) = parts.next_if(|(name, _)| name == role.name.as_str()) {
            role.permissions.insert(row::pattern(&pattern)?);
        }
    }
    Ok(Slice { entries, more })
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
    let size = page.size.get() as usize;
    let more = rows.len() > size;
    let entries = rows.into_iter().take(size).map(Grant::try_from).collect::<Result<_, _>>()?;
    Ok(Slice { entries, more })
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
    let (fitting, more) = fitting(found.iter().map(|(_, parts)| *parts), page.size.get() as usize);
    let mut entries = Vec::with_capacity(fitting);
    for (name, _) in found.iter().take(fitting) {
        entries.push(Group { name: row::group_name(name)?, members: BTreeSet::new() });
    }
    let last = entries.last().map_or(after, |group| group.name.as_str());
    let parts: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT group_name, member_kind, member_id FROM group_members
         WHERE group_name > ?1 AND group_name <= ?2 ORDER BY group_name",
    )
    .bind(after)
    .bind(last)
    .fetch_all(&mut *connection)
    .await?;
    let mut parts = parts.into_iter().peekable();
    for group in &mut entries {
        while let Some((_, kind, id)) = parts.next_if(|(name, _, _)| name == group.name.as_str()) {
            group.members.insert(row::subject(&kind, &id)?);
        }
    }
    Ok(Slice { entries, more })
}

/// How many of the entries, told by their numbers of parts, fit a page, and whether some do not. One always fits.
fn fitting(parts: impl Iterator<Item = i64>, size: usize) -> (usize, bool) {
    let mut fitting = 0;
    let mut held = 0;
    for parts in parts {
        held += parts;
        if fitting == size || (fitting > 0 && held > PAGE_PARTS) {
            return (fitting, true);
        }
        fitting += 1;
    }
    (fitting, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_its_size_or_when_it_is_full() {
        let fits = |parts: &[i64], size| fitting(parts.iter().copied(), size);
        assert_eq!(fits(&[], 2), (0, false));
        assert_eq!(fits(&[1, 1], 2), (2, false));
        assert_eq!(fits(&[1, 1, 1], 2), (2, true));
        assert_eq!(fits(&[PAGE_PARTS, 1], 2), (1, true));
        assert_eq!(fits(&[PAGE_PARTS + 1], 2), (1, false));
        assert_eq!(fits(&[PAGE_PARTS - 1, 1, 1], 9), (2, true));
    }
}
