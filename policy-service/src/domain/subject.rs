//! Who may hold a grant. A **principal** (user or client) can be asked about; a **group** only passes on what it holds,
//! so a check cannot be made for one: that is a type here, not a rule to remember.

use std::fmt;

use super::name::GroupName;

/// A subject whose id does not fit its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectInvalid {
    /// Not `usr_` and 26 characters.
    #[error("a user's id is usr_ and 26 characters of 0-9 and a-z without i, l, o and u")]
    User,
    /// Neither `cli_` and 26 characters nor a built-in client's name.
    #[error(
        "a client's id is cli_ and 26 characters of 0-9 and a-z without i, l, o and u, or a built-in client's name"
    )]
    Client,
    /// Not a group's name.
    #[error(
        "a group's name must be 1 to 63 characters of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit"
    )]
    Group,
}

/// A user or a client: who a request acts for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// A person.
    User(UserId),
    /// An application acting as itself.
    Client(ClientId),
}

/// Who holds a grant or is a member of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A user or a client.
    Principal(Principal),
    /// A group, by name.
    Group(GroupName),
}

/// A user's id, which auth-service gave.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Box<str>);

/// A client's id, which auth-service gave, or a built-in client's name. Never spelled as a user's id (RFC 9700 §4.15).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Box<str>);

impl Principal {
    /// Parses a user's id.
    pub fn user(id: &str) -> Result<Self, SubjectInvalid> {
        if is_id("usr_", id) { Ok(Self::User(UserId(id.into()))) } else { Err(SubjectInvalid::User) }
    }

    /// Parses a client's id.
    pub fn client(id: &str) -> Result<Self, SubjectInvalid> {
        let built_in = id.len() <= 63
            && id.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if built_in || is_id("cli_", id) {
            Ok(Self::Client(ClientId(id.into())))
        } else {
            Err(SubjectInvalid::Client)
        }
    }

    /// The id alone; its spelling does not tell the kind.
    pub fn id(&self) -> &str {
        match self {
            Self::User(UserId(id)) | Self::Client(ClientId(id)) => id,
        }
    }
}

impl Subject {
    /// The id alone, or the group's name; its spelling does not tell the kind.
    pub fn id(&self) -> &str {
        match self {
            Self::Principal(principal) => principal.id(),
            Self::Group(name) => name.as_str(),
        }
    }
}

impl From<Principal> for Subject {
    fn from(principal: Principal) -> Self {
        Self::Principal(principal)
    }
}

impl From<GroupName> for Subject {
    fn from(name: GroupName) -> Self {
        Self::Group(name)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A prefix and 26 characters of lowercase Crockford base32.
pub(super) fn is_id(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        rest.len() == 26
            && rest.bytes().all(|b| {
                b.is_ascii_digit() || (b.is_ascii_lowercase() && !matches!(b, b'i' | b'l' | b'o' | b'u'))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_fit_their_kind() {
        let user = "usr_0123456789abcdefghjkmnpqrs";
        let client = "cli_0123456789abcdefghjkmnpqrs";
        assert_eq!(Principal::user(user).unwrap().id(), user);
        assert_eq!(Principal::client(client).unwrap().id(), client);
        assert_eq!(Principal::client("first-party").unwrap().id(), "first-party");
        for bad in [
            "",
            "alice",
            client,
            "usr_",
            "usr_0123456789abcdefghjkmnpqr",
            "usr_0123456789abcdefghjkmnpqrst",
            "usr_0123456789ABCDEFGHJKMNPQRS",
            "usr_0123456789abcdefghijklmnop",
            " usr_0123456789abcdefghjkmnpqrs",
        ] {
            assert_eq!(Principal::user(bad), Err(SubjectInvalid::User), "{bad:?}");
        }
        for bad in ["", user, "cli_short", "First-Party", "first party", "-a", &"a".repeat(64)] {
            assert_eq!(Principal::client(bad), Err(SubjectInvalid::Client), "{bad:?}");
        }
    }
}
