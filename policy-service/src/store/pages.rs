//! From the rows that the databases answer to pages of lists.

use std::collections::BTreeSet;

use super::{StoreError, row};
use crate::domain::{Grant, Group, PageSize, Role, RoleName, Slice};

/// How many permissions or members a page holds before it ends early, so that it stays well below the size that a gRPC
/// client takes (4 MiB).
const PAGE_PARTS: i64 = 10_000;

pub(super) fn role(name: &RoleName, built_in: bool, patterns: &[String]) -> Result<Role, StoreError> {
    let permissions = patterns.iter().map(|text| row::pattern(text)).collect::<Result<_, _>>()?;
    Ok(Role { name: name.clone(), permissions, built_in })
}

/// Of names, whether they are built in, and how many permissions they have: one more than fits, if there are. Their
/// permissions are missing yet.
pub(super) fn roles(found: &[(String, bool, i64)], size: PageSize) -> Result<Slice<Role>, StoreError> {
    let (fitting, more) = fitting(found.iter().map(|(_, _, parts)| *parts), size.get() as usize);
    let mut entries = Vec::with_capacity(fitting);
    for (name, built_in, _) in found.iter().take(fitting) {
        entries.push(Role { name: row::role_name(name)?, permissions: BTreeSet::new(), built_in: *built_in });
    }
    Ok(Slice { entries, more })
}

/// Roles and patterns. Both lists are sorted by name: each part belongs to the entry reached so far or to one behind it.
pub(super) fn permit(roles: &mut [Role], parts: Vec<(String, String)>) -> Result<(), StoreError> {
    let mut parts = parts.into_iter().peekable();
    for role in roles {
        while let Some((_, pattern)) = parts.next_if(|(name, _)| name == role.name.as_str()) {
            role.permissions.insert(row::pattern(&pattern)?);
        }
    }
    Ok(())
}

/// Of names and how many members they have, as [`roles`].
pub(super) fn groups(found: &[(String, i64)], size: PageSize) -> Result<Slice<Group>, StoreError> {
    let (fitting, more) = fitting(found.iter().map(|(_, parts)| *parts), size.get() as usize);
    let mut entries = Vec::with_capacity(fitting);
    for (name, _) in found.iter().take(fitting) {
        entries.push(Group { name: row::group_name(name)?, members: BTreeSet::new() });
    }
    Ok(Slice { entries, more })
}

/// Groups, and the kinds and ids of members; as [`permit`].
pub(super) fn join(groups: &mut [Group], parts: Vec<(String, String, String)>) -> Result<(), StoreError> {
    let mut parts = parts.into_iter().peekable();
    for group in groups {
        while let Some((_, kind, id)) = parts.next_if(|(name, _, _)| name == group.name.as_str()) {
            group.members.insert(row::subject(&kind, &id)?);
        }
    }
    Ok(())
}

/// One more than fits, if there are.
pub(super) fn grants(rows: Vec<row::GrantRow>, size: PageSize) -> Result<Slice<Grant>, StoreError> {
    let size = size.get() as usize;
    let more = rows.len() > size;
    let entries = rows.into_iter().take(size).map(Grant::try_from).collect::<Result<_, _>>()?;
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
