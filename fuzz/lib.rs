//! What the targets share: an issuer with keys made at start, tokens of it, and ways to alter a token.
//!
//! A fuzzer cannot forge a signature, so an input is either text as it comes or a good token with edits. That
//! gives every target an oracle: whatever is not, byte for byte, what was issued must be refused.

use std::time::Duration;

use arbitrary::Arbitrary;
use time::OffsetDateTime;
use token::{AccessClaims, Algorithm, Epochs, Expect, KeySet, PrincipalKind, SigningKey, TYP_ACCESS};

pub const ISSUER: &str = "https://auth.example.com";
pub const AUDIENCE: &str = "https://api.example.com";
pub const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
pub const LEEWAY: Duration = Duration::from_secs(30);

/// An issuer that signs with EdDSA: deterministic, so that a finding does not depend on a nonce.
pub struct Issuer {
    pub key: SigningKey,
    pub keys: KeySet,
    pub expect: Expect,
}

impl Issuer {
    pub fn new() -> Self {
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let keys = KeySet::new([key.public_jwk()]).unwrap();
        let expect = Expect::new(ISSUER, AUDIENCE, [Algorithm::EdDsa], LEEWAY).unwrap();
        Self { key, keys, expect }
    }

    /// A token that is believed at [`NOW`].
    pub fn token(&self) -> String {
        let claims = AccessClaims {
            iss: ISSUER.into(),
            aud: vec![AUDIENCE.into()],
            sub: "usr_1".into(),
            client_id: "first-party".into(),
            iat: NOW,
            exp: NOW + Duration::from_secs(300),
            jti: "tok_1".into(),
            kind: PrincipalKind::User,
            name: "alice".into(),
            fam: Some("fam_1".into()),
            sid: None,
            scope: String::new(),
            roles: Some(vec!["reader".into()]),
            epo: Epochs { subject: 1, client: 0 },
            pv: 7,
            amr: Vec::new(),
        };
        self.key.sign(TYP_ACCESS, &claims).unwrap()
    }
}

impl Default for Issuer {
    fn default() -> Self {
        Self::new()
    }
}

/// What somebody sends.
#[derive(Arbitrary, Debug)]
pub enum Sent {
    Text(String),
    /// A good token with these edits, in their order.
    Edited(Vec<Edit>),
}

/// Positions count from the start and wrap around.
#[derive(Arbitrary, Debug)]
pub enum Edit {
    Replace {
        at: u16,
        with: u8,
    },
    Insert {
        at: u16,
        what: u8,
    },
    Remove {
        at: u16,
    },
    Truncate {
        at: u16,
    },
    /// One of the parts between the dots, replaced by another.
    Swap {
        part: u8,
        by: u8,
    },
    Part {
        part: u8,
        with: String,
    },
    Append(String),
}

impl Sent {
    /// The text that is sent, given a good token.
    pub fn text(self, good: &str) -> String {
        let edits = match self {
            Self::Text(text) => return text,
            Self::Edited(edits) => edits,
        };
        let mut octets = good.as_bytes().to_vec();
        for edit in edits {
            edit.apply(&mut octets);
        }
        String::from_utf8_lossy(&octets).into_owned()
    }
}

impl Edit {
    fn apply(self, octets: &mut Vec<u8>) {
        let length = octets.len().max(1);
        match self {
            Self::Replace { at, with } => {
                if let Some(octet) = octets.get_mut(usize::from(at) % length) {
                    *octet = with;
                }
            }
            Self::Insert { at, what } => octets.insert(usize::from(at) % (octets.len() + 1), what),
            Self::Remove { at } => {
                if !octets.is_empty() {
                    octets.remove(usize::from(at) % length);
                }
            }
            Self::Truncate { at } => octets.truncate(usize::from(at) % length),
            Self::Append(text) => octets.extend_from_slice(text.as_bytes()),
            Self::Swap { part, by } => parts(octets, |parts| {
                let (to, from) = (usize::from(part) % parts.len(), usize::from(by) % parts.len());
                parts[to] = parts[from].clone();
            }),
            Self::Part { part, with } => parts(octets, |parts| {
                let to = usize::from(part) % parts.len();
                parts[to] = with.into_bytes();
            }),
        }
    }
}

fn parts(octets: &mut Vec<u8>, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut parts: Vec<Vec<u8>> = octets.split(|octet| *octet == b'.').map(<[u8]>::to_vec).collect();
    change(&mut parts);
    *octets = parts.join(&b'.');
}
