//! Names of roles and of groups: two types over one spelling, so that neither is passed for the other. The spelling is
//! safe in a comma-separated header, a path and a log line, because role names travel in all three.

use std::fmt;

/// Longest name, in bytes.
pub const MAX_BYTES: usize = 63;

/// A name that is not `[a-z0-9][a-z0-9._-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 63 characters of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit")]
pub struct NameInvalid;

/// The name of a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(Box<str>);

/// The name of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Box<str>);

impl RoleName {
    /// Parses a role's name; nothing is trimmed or folded.
    pub fn parse(text: &str) -> Result<Self, NameInvalid> {
        spelled(text).map(Self)
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl GroupName {
    /// Parses a group's name; nothing is trimmed or folded.
    pub fn parse(text: &str) -> Result<Self, NameInvalid> {
        spelled(text).map(Self)
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn spelled(text: &str) -> Result<Box<str>, NameInvalid> {
    let first = text.bytes().next().ok_or(NameInvalid)?;
    let begins = first.is_ascii_lowercase() || first.is_ascii_digit();
    let continues = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
    if begins && continues && text.len() <= MAX_BYTES { Ok(text.into()) } else { Err(NameInvalid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_by_their_grammar() {
        let longest = "a".repeat(63);
        for good in ["a", "0", "editor", "app-admin", "a.b_c-d", "9lives", longest.as_str()] {
            assert_eq!(RoleName::parse(good).unwrap().as_str(), good);
            assert_eq!(GroupName::parse(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(64);
        for bad in
            ["", "Editor", "-a", ".a", "_a", "a b", "a,b", "a/b", "a:b", "é", "a\n", "a\0", too_long.as_str()]
        {
            assert_eq!(RoleName::parse(bad), Err(NameInvalid), "{bad:?}");
            assert_eq!(GroupName::parse(bad), Err(NameInvalid), "{bad:?}");
        }
    }
}
