//! Writes: each takes a transaction, locks the revision in it first, so that what it reads stays true until it commits, and
//! raises it. Dropping the transaction on any other way out takes everything back.

use std::collections::BTreeSet;

use chassis::postgres::{Attempt, Transaction};
use feed::log::postgres::append_within;
use sqlx::PgConnection;

use super::list;
use crate::domain::{At, Grant, GrantId, GroupName, Principal, Revision, Role, RoleName, Subject};
use crate::store::changes::Whose;
use crate::store::{
    Entries, GrantCreated, GroupCreated, MemberAdded, MemberRemoved, RoleDeleted, RolePut, StoreError, row,
};

/// A transaction that writes, when it is its turn.
pub(super) async fn begin(attempt: &Attempt) -> Result<Transaction, StoreError> {
    let mut tx = attempt.begin().await?;
    // INVARIANT: nothing else is locked before this row, so that writers wait and never deadlock.
    sqlx::query("SELECT number FROM revision FOR UPDATE").execute(&mut *tx).await?;
    Ok(tx)
}

pub(super) async fn put_role(
    mut tx: Transaction,
    entries: &Entries,
    role: &Role,
) -> Result<RolePut, StoreError> {
    match list::role(&mut tx, &role.name).await? {
        Some(stored) if stored.built_in => return Ok(RolePut::BuiltIn),
        Some(stored) if stored.permissions == role.permissions => {
            return Ok(RolePut::Put(unchanged(tx).await?));
        }
        Some(_) | None => {}
    }
    let patterns: BTreeSet<&str> = role.permissions.iter().map(|pattern| pattern.as_str()).collect();
    sqlx::query("INSERT INTO roles (name, built_in) VALUES ($1, false) ON CONFLICT (name) DO NOTHING")
        .bind(role.name.as_str())
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM role_permissions WHERE role = $1")
        .bind(role.name.as_str())
        .execute(&mut *tx)
        .await?;
    sqlx::query("INSERT INTO role_permissions (role, pattern) SELECT $1, unnest($2::text[])")
        .bind(role.name.as_str())
        .bind(patterns.into_iter().collect::<Vec<_>>())
        .execute(&mut *tx)
        .await?;
    Ok(RolePut::Put(raise(tx, entries, Whose::Everybodys).await?))
}

pub(super) async fn delete_role(
    mut tx: Transaction,
    entries: &Entries,
    name: &RoleName,
) -> Result<RoleDeleted, StoreError> {
    // Permissions and grants go with it, by their foreign keys.
    let deleted = sqlx::query("DELETE FROM roles WHERE name = $1 AND NOT built_in")
        .bind(name.as_str())
        .execute(&mut *tx)
        .await?
        .rows_affected();
    if deleted > 0 {
        return Ok(RoleDeleted::Deleted(raise(tx, entries, Whose::Everybodys).await?));
    }
    let exists = role_exists(&mut tx, name).await?;
    Ok(if exists { RoleDeleted::BuiltIn } else { RoleDeleted::NotFound })
}

pub(super) async fn create_grant(
    mut tx: Transaction,
    entries: &Entries,
    grant: &Grant,
) -> Result<GrantCreated, StoreError> {
    let (within_kind, within_id) = row::place(grant.within.as_ref());
    let created = sqlx::query(
        "INSERT INTO grants (id, subject_kind, subject_id, role, within_kind, within_id)
         SELECT $1, $2, $3, $4, $5, $6
         WHERE EXISTS (SELECT 1 FROM roles WHERE name = $4)
           AND ($2 <> 'group' OR EXISTS (SELECT 1 FROM groups WHERE name = $3))
         ON CONFLICT (subject_kind, subject_id, within_kind, within_id, role) DO NOTHING",
    )
    .bind(grant.id.as_str())
    .bind(row::kind(&grant.subject))
    .bind(grant.subject.id())
    .bind(grant.role.as_str())
    .bind(within_kind)
    .bind(within_id)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if created > 0 {
        let revision = raise(tx, entries, Whose::of(&grant.subject)).await?;
        return Ok(GrantCreated::Held(At { value: grant.clone(), revision }));
    }
    let held: Option<row::GrantRow> = sqlx::query_as(
        "SELECT id, subject_kind, subject_id, role, within_kind, within_id FROM grants
         WHERE subject_kind = $1 AND subject_id = $2 AND role = $3 AND within_kind = $4 AND within_id = $5",
    )
    .bind(row::kind(&grant.subject))
    .bind(grant.subject.id())
    .bind(grant.role.as_str())
    .bind(within_kind)
    .bind(within_id)
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(held) = held {
        let revision = unchanged(tx).await?;
        return Ok(GrantCreated::Held(At { value: Grant::try_from(held)?, revision }));
    }
    let exists = role_exists(&mut tx, &grant.role).await?;
    Ok(if exists { GrantCreated::GroupNotFound } else { GrantCreated::RoleNotFound })
}

pub(super) async fn delete_grant(
    mut tx: Transaction,
    entries: &Entries,
    id: &GrantId,
) -> Result<Option<Revision>, StoreError> {
    let deleted: Option<(String, String)> =
        sqlx::query_as("DELETE FROM grants WHERE id = $1 RETURNING subject_kind, subject_id")
            .bind(id.as_str())
            .fetch_optional(&mut *tx)
            .await?;
    let Some((kind, subject)) = deleted else { return Ok(None) };
    let whose = if kind == "group" { Whose::Everybodys } else { Whose::Principals(&subject) };
    Ok(Some(raise(tx, entries, whose).await?))
}

pub(super) async fn create_group(
    mut tx: Transaction,
    entries: &Entries,
    name: &GroupName,
) -> Result<GroupCreated, StoreError> {
    let created = sqlx::query("INSERT INTO groups (name) VALUES ($1) ON CONFLICT (name) DO NOTHING")
        .bind(name.as_str())
        .execute(&mut *tx)
        .await?
        .rows_affected();
    if created > 0 {
        Ok(GroupCreated::Created(raise(tx, entries, Whose::Nobodys).await?))
    } else {
        Ok(GroupCreated::Taken)
    }
}

pub(super) async fn delete_group(
    mut tx: Transaction,
    entries: &Entries,
    name: &GroupName,
) -> Result<Option<Revision>, StoreError> {
    // Its own members go with it, by their foreign key.
    let deleted = sqlx::query("DELETE FROM groups WHERE name = $1")
        .bind(name.as_str())
        .execute(&mut *tx)
        .await?
        .rows_affected();
    if deleted == 0 {
        return Ok(None);
    }
    // Its grants too: a group of the same name made later must not inherit them.
    leave_no_trace(&mut tx, "group", name.as_str()).await?;
    Ok(Some(raise(tx, entries, Whose::Everybodys).await?))
}

pub(super) async fn add_group_member(
    mut tx: Transaction,
    entries: &Entries,
    group: &GroupName,
    member: &Subject,
) -> Result<MemberAdded, StoreError> {
    // INVARIANT: memberships form no circle. `around` is the group and every group that it is in; a member that is one
    // of them would be inside itself.
    let added = sqlx::query(
        r#"WITH RECURSIVE around (name) AS (
             SELECT $1::text COLLATE "C"
             UNION
             SELECT m.group_name FROM around a JOIN group_members m ON m.member_kind = 'group' AND m.member_id = a.name
         )
         INSERT INTO group_members (group_name, member_kind, member_id)
         SELECT $1, $2, $3
         WHERE EXISTS (SELECT 1 FROM groups WHERE name = $1)
           AND ($2 <> 'group' OR (
               EXISTS (SELECT 1 FROM groups WHERE name = $3) AND $3 NOT IN (SELECT name FROM around)
           ))
         ON CONFLICT (group_name, member_kind, member_id) DO NOTHING"#,
    )
    .bind(group.as_str())
    .bind(row::kind(member))
    .bind(member.id())
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if added > 0 {
        return Ok(MemberAdded::Member(raise(tx, entries, Whose::of(member)).await?));
    }
    if !group_exists(&mut tx, group).await? {
        return Ok(MemberAdded::GroupNotFound(group.clone()));
    }
    if let Subject::Group(inner) = member
        && !group_exists(&mut tx, inner).await?
    {
        return Ok(MemberAdded::GroupNotFound(inner.clone()));
    }
    if is_member(&mut tx, group, member).await? {
        return Ok(MemberAdded::Member(unchanged(tx).await?));
    }
    Ok(MemberAdded::Cycle)
}

pub(super) async fn remove_group_member(
    mut tx: Transaction,
    entries: &Entries,
    group: &GroupName,
    member: &Subject,
) -> Result<MemberRemoved, StoreError> {
    let removed = sqlx::query(
        "DELETE FROM group_members WHERE group_name = $1 AND member_kind = $2 AND member_id = $3",
    )
    .bind(group.as_str())
    .bind(row::kind(member))
    .bind(member.id())
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if removed > 0 {
        return Ok(MemberRemoved::Removed(raise(tx, entries, Whose::of(member)).await?));
    }
    let exists = group_exists(&mut tx, group).await?;
    Ok(if exists { MemberRemoved::MemberNotFound } else { MemberRemoved::GroupNotFound })
}

pub(super) async fn forget(
    mut tx: Transaction,
    entries: &Entries,
    principal: &Principal,
) -> Result<Revision, StoreError> {
    let removed = leave_no_trace(&mut tx, row::principal_kind(principal), principal.id()).await?;
    if removed > 0 { raise(tx, entries, Whose::of_principal(principal)).await } else { unchanged(tx).await }
}

/// Removes the grants and memberships of a subject, and answers how many there were.
async fn leave_no_trace(connection: &mut PgConnection, kind: &str, id: &str) -> Result<u64, StoreError> {
    let memberships = sqlx::query("DELETE FROM group_members WHERE member_kind = $1 AND member_id = $2")
        .bind(kind)
        .bind(id)
        .execute(&mut *connection)
        .await?
        .rows_affected();
    let grants = sqlx::query("DELETE FROM grants WHERE subject_kind = $1 AND subject_id = $2")
        .bind(kind)
        .bind(id)
        .execute(&mut *connection)
        .await?
        .rows_affected();
    Ok(memberships + grants)
}

/// Raises the revision, says in the feed's log whose roles that concerns, and commits: the end of every write that changed
/// something.
async fn raise(mut tx: Transaction, entries: &Entries, whose: Whose<'_>) -> Result<Revision, StoreError> {
    let number: i64 = sqlx::query_scalar("UPDATE revision SET number = number + 1 RETURNING number")
        .fetch_one(&mut *tx)
        .await?;
    let revision = row::revision(number)?;
    if let Some(entry) = entries.entry(whose, revision) {
        append_within(&mut tx, &[entry]).await?;
    }
    tx.commit().await?;
    Ok(revision)
}

/// For what is as it was to be. Committed all the same: the lock on the revision makes that a write, which a database that was
/// deposed cannot commit.
async fn unchanged(mut tx: Transaction) -> Result<Revision, StoreError> {
    let number: i64 = sqlx::query_scalar("SELECT number FROM revision").fetch_one(&mut *tx).await?;
    tx.commit().await?;
    row::revision(number)
}

async fn role_exists(connection: &mut PgConnection, name: &RoleName) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM roles WHERE name = $1)")
        .bind(name.as_str())
        .fetch_one(&mut *connection)
        .await?)
}

async fn group_exists(connection: &mut PgConnection, name: &GroupName) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM groups WHERE name = $1)")
        .bind(name.as_str())
        .fetch_one(&mut *connection)
        .await?)
}

async fn is_member(
    connection: &mut PgConnection,
    group: &GroupName,
    member: &Subject,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (
             SELECT 1 FROM group_members WHERE group_name = $1 AND member_kind = $2 AND member_id = $3
         )",
    )
    .bind(group.as_str())
    .bind(row::kind(member))
    .bind(member.id())
    .fetch_one(&mut *connection)
    .await?)
}
