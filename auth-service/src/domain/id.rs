//! The identifiers of auth-service, each a type of its own, so that a user's id is never taken for a client's.
//!
//! Users' ids begin `usr_` and clients' `cli_` (or are the name of a built-in client): no client can be
//! registered whose `client_id` is some user's `sub` (RFC 9700 §4.15).

use std::fmt;

/// The built-in public client that first-party logins belong to.
pub const FIRST_PARTY: &str = "first-party";

/// Characters after the prefix: 128 bits in Crockford's base 32.
const BODY: usize = 26;

fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|body| {
        body.len() == BODY
            && body
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'z') && !matches!(b, b'i' | b'l' | b'o' | b'u'))
    })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal $(, $built_in:expr)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// What the id begins with.
            pub const PREFIX: &'static str = $prefix;

            /// `None` unless it has the shape of one.
            pub fn parse(text: &str) -> Option<Self> {
                (is_id(text, Self::PREFIX) $(|| text == $built_in)?).then(|| Self(text.to_owned()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// `usr_` and 26 characters; never reused.
    UserId,
    "usr_"
);
id!(
    /// `cli_` and 26 characters, or `first-party`.
    ClientId,
    "cli_",
    FIRST_PARTY
);
id!(
    /// `fam_` and 26 characters: all refresh tokens that descend from one login. Public; the tokens are not derived from it.
    FamilyId,
    "fam_"
);
id!(
    /// 26 characters: an access token, its claim `jti`. Public; nothing can be done with it but to end the token.
    TokenId,
    ""
);

impl ClientId {
    pub fn first_party() -> Self {
        Self(FIRST_PARTY.to_owned())
    }

    /// Built-in clients are neither changed nor deleted.
    pub fn is_built_in(&self) -> bool {
        self.0 == FIRST_PARTY
    }
}

/// Whether the text could be mistaken for a user's or a client's id.
pub fn looks_like_an_id(text: &str) -> bool {
    UserId::parse(text).is_some() || ClientId::parse(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY_TEXT: &str = "0123456789abcdefghjkmnpqrs";

    #[test]
    fn users_and_clients_are_disjoint() {
        let user = format!("usr_{BODY_TEXT}");
        let client = format!("cli_{BODY_TEXT}");
        assert!(UserId::parse(&user).is_some() && ClientId::parse(&user).is_none());
        assert!(ClientId::parse(&client).is_some() && UserId::parse(&client).is_none());
        assert!(ClientId::parse("first-party").is_some_and(|id| id.is_built_in()));
        assert!(UserId::parse("first-party").is_none());
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in [
            "",
            "usr_",
            "usr_short",
            "usr_0123456789abcdefghjkmnpqrS",
            "usr_0123456789abcdefghjkmnpqru",
            "usr_0123456789abcdefghjkmnpqrs0",
        ] {
            assert!(UserId::parse(text).is_none(), "{text}");
        }
    }
}
