//! An application that authenticates as itself, and what it may ask for.

use time::OffsetDateTime;

use super::{
    id::ClientId,
    scope::Scope,
    secret::{Digest, Secret},
    user::Status,
};

/// Most audiences that one client may have.
const MAX_AUDIENCES: usize = 64;

/// A client, without its secret's digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub id: ClientId,
    pub name: ClientName,
    pub status: Status,
    /// In the order given; tokens go to the first unless another is asked for.
    pub audiences: Vec<Audience>,
    pub scopes: Scope,
    pub kind: ClientKind,
    /// As for users: raised to void everything issued under a lower number.
    pub epoch: u64,
    pub created_at: OffsetDateTime,
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// It does not: anybody can say its id.
    Public,
    Confidential {
        secret: Digest,
    },
}

/// A client's name: `[a-z0-9][a-z0-9._-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientName(String);

/// Who a token is for: a name or a URI, 1 to 256 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience(String);

/// Why a client cannot be registered so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientInvalid {
    #[error(
        "a client's name is 1 to 63 lower-case letters, digits, dots, hyphens and underscores, a letter or digit first"
    )]
    Name,
    #[error(
        "an audience is 1 to 256 visible ASCII characters without quotes and backslashes, and none is given twice"
    )]
    Audience,
    #[error("a client has at most 64 audiences")]
    TooManyAudiences,
    #[error("that audience is for login proofs")]
    ReservedAudience,
    #[error(transparent)]
    Scope(#[from] super::scope::ScopeInvalid),
}

impl ClientName {
    pub fn parse(text: &str) -> Result<Self, ClientInvalid> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
        if first && rest && text.len() <= 63 { Ok(Self(text.to_owned())) } else { Err(ClientInvalid::Name) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Audience {
    pub fn parse(text: &str) -> Result<Self, ClientInvalid> {
        let visible = text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        if visible && (1..=256).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ClientInvalid::Audience)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A client's audiences from what an administrator wrote. None given: `default`, the gateway's.
pub fn audiences<'a>(
    given: impl IntoIterator<Item = &'a str>,
    default: &Audience,
) -> Result<Vec<Audience>, ClientInvalid> {
    let mut audiences = Vec::new();
    for text in given {
        let audience = Audience::parse(text)?;
        if audience.as_str() == super::claims::PROOF_AUDIENCE {
            return Err(ClientInvalid::ReservedAudience);
        }
        if audiences.contains(&audience) {
            return Err(ClientInvalid::Audience);
        }
        if audiences.len() == MAX_AUDIENCES {
            return Err(ClientInvalid::TooManyAudiences);
        }
        audiences.push(audience);
    }
    if audiences.is_empty() {
        audiences.push(default.clone());
    }
    Ok(audiences)
}

impl Client {
    /// Whether the secret presented is this client's. A public client has none, and any that is presented is wrong.
    pub fn is_proven_by(&self, presented: Option<&Secret>) -> bool {
        match (&self.kind, presented) {
            (ClientKind::Confidential { secret }, Some(presented)) => secret.matches(&presented.digest()),
            (ClientKind::Confidential { .. }, None) | (ClientKind::Public, Some(_)) => false,
            (ClientKind::Public, None) => true,
        }
    }

    pub fn is_public(&self) -> bool {
        matches!(self.kind, ClientKind::Public)
    }

    /// The audience asked for, or the first; `None` if it is not among the client's.
    pub fn audience(&self, asked: &str) -> Option<&Audience> {
        if asked.is_empty() {
            self.audiences.first()
        } else {
            self.audiences.iter().find(|audience| audience.as_str() == asked)
        }
    }

    pub fn has_audience(&self, name: &str) -> bool {
        self.audiences.iter().any(|audience| audience.as_str() == name)
    }

    /// The scope asked for, or all there is; `None` if it is wider.
    pub fn scope(&self, asked: &Scope) -> Option<Scope> {
        if asked.is_empty() {
            Some(self.scopes.clone())
        } else {
            asked.is_within(&self.scopes).then(|| asked.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::secret::SecretKind, *};

    fn client(kind: ClientKind) -> Client {
        Client {
            id: ClientId::first_party(),
            name: ClientName::parse("reports").unwrap(),
            status: Status::Active,
            audiences: vec![
                Audience::parse("latchkey").unwrap(),
                Audience::parse("https://api.example").unwrap(),
            ],
            scopes: Scope::parse("read write").unwrap(),
            kind,
            epoch: 0,
            created_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn proof() {
        let secret = Secret::new(SecretKind::Client, &[1; 32]);
        let other = Secret::new(SecretKind::Client, &[2; 32]);
        let confidential = client(ClientKind::Confidential { secret: secret.digest() });
        assert!(confidential.is_proven_by(Some(&secret)));
        assert!(!confidential.is_proven_by(Some(&other)) && !confidential.is_proven_by(None));
        assert!(
            client(ClientKind::Public).is_proven_by(None)
                && !client(ClientKind::Public).is_proven_by(Some(&secret))
        );
    }

    #[test]
    fn what_may_be_asked_for() {
        let client = client(ClientKind::Public);
        assert_eq!(client.audience("").unwrap().as_str(), "latchkey");
        assert_eq!(client.audience("https://api.example").unwrap().as_str(), "https://api.example");
        assert_eq!(client.audience("https://api.example/"), None);
        assert_eq!(client.scope(&Scope::default()).unwrap().to_string(), "read write");
        assert_eq!(client.scope(&Scope::parse("read").unwrap()).unwrap().to_string(), "read");
        assert_eq!(client.scope(&Scope::parse("admin").unwrap()), None);
    }

    #[test]
    fn names_and_audiences() {
        for name in ["a", "a.b_c-d", "0x", &"a".repeat(63)] {
            assert!(ClientName::parse(name).is_ok(), "{name}");
        }
        for name in ["", "A", ".a", "-a", "a b", "é", &"a".repeat(64)] {
            assert!(ClientName::parse(name).is_err(), "{name}");
        }
        let default = Audience::parse("latchkey").unwrap();
        assert_eq!(audiences([], &default).unwrap(), std::slice::from_ref(&default));
        assert_eq!(audiences(["a", "b"], &default).unwrap().len(), 2);
        assert_eq!(audiences(["a", "a"], &default), Err(ClientInvalid::Audience));
        assert_eq!(audiences(["a b"], &default), Err(ClientInvalid::Audience));
        assert_eq!(audiences(["session"], &default), Err(ClientInvalid::ReservedAudience));
    }
}
