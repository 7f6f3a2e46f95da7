//! A role: a name for a set of permissions. One is built in, `latchkey-admin`, and it alone holds Latchkey's own
//! permissions: whatever an application calls its roles, none of them administers Latchkey.

use std::collections::BTreeSet;

use super::name::RoleName;
use super::permission::PermissionPattern;

/// The built-in role, created with the schema; it is neither changed nor deleted.
pub const BUILT_IN: &str = "latchkey-admin";

/// How many permissions a role may hold; a role with more is a mistake, and it would not fit one answer.
pub const MAX_PERMISSIONS: usize = 1_000;

/// A role that no application can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleInvalid {
    /// It has the built-in role's name.
    #[error("the role latchkey-admin is built in and cannot be changed")]
    BuiltIn,
    /// It names one of Latchkey's own permissions.
    #[error("latchkey: permissions are held by the built-in role alone")]
    OwnPermission(PermissionPattern),
    /// It holds more than 1,000 permissions.
    #[error("a role holds at most 1,000 permissions")]
    TooManyPermissions,
}

/// A role as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Unique.
    pub name: RoleName,
    /// Sorted, without duplicates; a role without permissions is one that routes ask for by name.
    pub permissions: BTreeSet<PermissionPattern>,
    /// Whether it came with the schema.
    pub built_in: bool,
}

impl Role {
    /// An application's role.
    pub fn of_application(
        name: RoleName,
        permissions: BTreeSet<PermissionPattern>,
    ) -> Result<Self, RoleInvalid> {
        if name.as_str() == BUILT_IN {
            return Err(RoleInvalid::BuiltIn);
        }
        if permissions.len() > MAX_PERMISSIONS {
            return Err(RoleInvalid::TooManyPermissions);
        }
        match permissions.iter().find(|pattern| pattern.is_own()) {
            Some(own) => Err(RoleInvalid::OwnPermission(own.clone())),
            None => Ok(Self { name, permissions, built_in: false }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> BTreeSet<PermissionPattern> {
        texts.iter().map(|text| PermissionPattern::parse(text).unwrap()).collect()
    }

    #[test]
    fn an_application_role_holds_anything_but_our_own() {
        let name = || RoleName::parse("editor").unwrap();
        assert!(Role::of_application(name(), patterns(&[])).is_ok());
        assert!(Role::of_application(name(), patterns(&["document:*", "folder:read"])).is_ok());
        for own in ["latchkey:*", "latchkey:evaluate"] {
            assert_eq!(
                Role::of_application(name(), patterns(&["document:read", own])),
                Err(RoleInvalid::OwnPermission(PermissionPattern::parse(own).unwrap())),
            );
        }
    }

    #[test]
    fn the_built_in_role_cannot_be_made_again() {
        let name = RoleName::parse(BUILT_IN).unwrap();
        for permissions in [patterns(&[]), patterns(&["document:read"]), patterns(&["latchkey:*"])] {
            assert_eq!(Role::of_application(name.clone(), permissions), Err(RoleInvalid::BuiltIn));
        }
    }

    #[test]
    fn a_role_holds_at_most_a_thousand_permissions() {
        let name = || RoleName::parse("editor").unwrap();
        let many =
            |n: usize| (0..n).map(|i| PermissionPattern::parse(&format!("document:a{i}")).unwrap()).collect();
        assert!(Role::of_application(name(), many(1_000)).is_ok());
        assert_eq!(Role::of_application(name(), many(1_001)), Err(RoleInvalid::TooManyPermissions));
    }
}
