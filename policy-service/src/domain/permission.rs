//! Permissions, written `kind:action`, and the patterns that roles hold, which may also be `kind:*`. Two types: a check
//! asks for one permission and never for a pattern.

use std::fmt;

/// The kind of Latchkey's own permissions. Only the built-in role names it.
pub const OWN_KIND: &str = "latchkey";

/// A permission or pattern that is not spelled as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PermissionInvalid {
    /// Not `kind:action` with both parts `[a-z][a-z0-9_-]{0,62}`.
    #[error("must be kind:action, each 1 to 63 characters of a-z, 0-9, '_' and '-', beginning with a letter")]
    Spelling,
    /// `kind:*` where exactly one permission is asked for.
    #[error("must name one action: a wildcard stands only in a role")]
    Wildcard,
}

/// One action on one kind of thing: `document:read`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    text: Box<str>,
    colon: usize,
}

/// What a role holds: one action (`document:read`) or every action of a kind (`document:*`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PermissionPattern {
    text: Box<str>,
    colon: usize,
}

impl Permission {
    /// Parses `kind:action`; a wildcard is refused.
    pub fn parse(text: &str) -> Result<Self, PermissionInvalid> {
        let pattern = PermissionPattern::parse(text)?;
        if pattern.is_wildcard() {
            return Err(PermissionInvalid::Wildcard);
        }
        Ok(Self { text: pattern.text, colon: pattern.colon })
    }

    /// `kind:action`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the colon.
    pub fn kind(&self) -> &str {
        self.text.split_at(self.colon).0
    }

    /// The pattern that allows every action of this permission's kind.
    pub fn whole_kind(&self) -> PermissionPattern {
        PermissionPattern { text: format!("{}:*", self.kind()).into(), colon: self.colon }
    }
}

impl PermissionPattern {
    /// Parses `kind:action` or `kind:*`.
    pub fn parse(text: &str) -> Result<Self, PermissionInvalid> {
        let (kind, action) = text.split_once(':').ok_or(PermissionInvalid::Spelling)?;
        if !is_word(kind) || !(action == "*" || is_word(action)) {
            return Err(PermissionInvalid::Spelling);
        }
        Ok(Self { text: text.into(), colon: kind.len() })
    }

    /// `kind:action` or `kind:*`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the colon.
    pub fn kind(&self) -> &str {
        self.text.split_at(self.colon).0
    }

    /// Whether it stands for every action of its kind.
    pub fn is_wildcard(&self) -> bool {
        self.text.ends_with(":*")
    }

    /// Whether it is one of Latchkey's own, which no application role may hold.
    pub fn is_own(&self) -> bool {
        self.kind() == OWN_KIND
    }

    /// Whether a role that holds this pattern has that permission.
    pub fn allows(&self, permission: &Permission) -> bool {
        self.text == permission.text || (self.is_wildcard() && self.kind() == permission.kind())
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for PermissionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `[a-z][a-z0-9_-]{0,62}`: the spelling of a kind, of a permission or a resource, and of an action.
pub(super) fn is_word(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let longest = format!("{}:{}", "k".repeat(63), "a".repeat(63));
        for good in ["document:read", "d:r", "a-b_c:d-e_2", longest.as_str()] {
            assert_eq!(Permission::parse(good).unwrap().as_str(), good);
            assert_eq!(PermissionPattern::parse(good).unwrap().as_str(), good);
        }
        assert!(PermissionPattern::parse("document:*").unwrap().is_wildcard());
        assert_eq!(Permission::parse("document:*"), Err(PermissionInvalid::Wildcard));

        let kind_too_long = format!("{}:read", "k".repeat(64));
        let action_too_long = format!("document:{}", "a".repeat(64));
        for bad in [
            "",
            ":",
            "document",
            "document:",
            ":read",
            "*:read",
            "*:*",
            "Document:read",
            "document:Read",
            "document:read:all",
            "document: read",
            "document:re*",
            "document:**",
            "1document:read",
            "-d:read",
            "document:_read",
            "dökument:read",
            kind_too_long.as_str(),
            action_too_long.as_str(),
        ] {
            assert_eq!(Permission::parse(bad), Err(PermissionInvalid::Spelling), "{bad:?}");
            assert_eq!(PermissionPattern::parse(bad), Err(PermissionInvalid::Spelling), "{bad:?}");
        }
    }

    #[test]
    fn a_pattern_allows_its_own_permission_or_its_whole_kind() {
        for (pattern, permission, allowed) in [
            ("document:read", "document:read", true),
            ("document:read", "document:write", false),
            ("document:read", "document:reader", false),
            ("document:*", "document:read", true),
            ("document:*", "documents:read", false),
            ("doc:*", "document:read", false),
            ("folder:read", "document:read", false),
        ] {
            let pattern = PermissionPattern::parse(pattern).unwrap();
            let permission = Permission::parse(permission).unwrap();
            assert_eq!(pattern.allows(&permission), allowed, "{pattern} for {permission}");
        }
    }

    #[test]
    fn the_whole_kind_allows_what_it_came_from() {
        let permission = Permission::parse("document:read").unwrap();
        assert_eq!(permission.whole_kind(), PermissionPattern::parse("document:*").unwrap());
        assert!(permission.whole_kind().allows(&permission));
    }

    #[test]
    fn only_the_kind_latchkey_is_ours() {
        assert!(PermissionPattern::parse("latchkey:*").unwrap().is_own());
        assert!(PermissionPattern::parse("latchkey:evaluate").unwrap().is_own());
        assert!(!PermissionPattern::parse("latchkeys:read").unwrap().is_own());
        assert!(!PermissionPattern::parse("document:latchkey").unwrap().is_own());
    }
}
