//! One public signing key as a JWK (RFC 7517), held to the rules of J14 when it is read: a weak or ambiguous key is
//! an error with a name at start-up, never a surprise at a request.

mod members;
mod public;

use std::{borrow::Borrow, fmt};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

pub(crate) use members::Members;
pub(crate) use public::{Public, coordinates, point};

use crate::{Algorithm, json as strict};

/// A `kid`: 1 to 128 characters of `A-Z a-z 0-9 . _ -`. Paths, SQL and the like are not key ids at all (J04).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(String);

/// A public signing key with its id and its one algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwk {
    kid: KeyId,
    algorithm: Algorithm,
    public: Public,
}

/// Why a key cannot be used. Names the member, never its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    #[error("not a JSON object with unique member names")]
    NotAnObject,
    #[error("`{0}` is missing or not what RFC 7518 says")]
    Member(&'static str),
    #[error("kty `oct`: a symmetric key has no place here")]
    Symmetric,
    #[error("`{0}` is a private member, and this must be a public key")]
    Private(&'static str),
    #[error("kid is missing, or not 1 to 128 characters of A-Z a-z 0-9 . _ -")]
    Kid,
    #[error("alg is missing or not one of ES256, EdDSA, RS256, PS256")]
    Algorithm,
    #[error("kty or crv does not fit alg")]
    Mismatch,
    #[error("use or key_ops says that the key is for something else")]
    Use,
    #[error("RSA modulus of {0} bits: 2048 to 8192 are accepted")]
    Modulus(usize),
    #[error("RSA exponent must be odd, at least 65537 and at most 32 bits")]
    Exponent,
    #[error("the coordinates are not a point on the curve")]
    Point,
    #[error("not a private key of this algorithm")]
    Rejected,
    #[error("the private and the public part do not belong together")]
    Pair,
    #[error("the key is not the one that its id names")]
    Thumbprint,
    #[error("the cryptographic library failed")]
    Crypto,
}

impl KeyId {
    pub fn parse(kid: &str) -> Result<Self, KeyError> {
        let fits = (1..=128).contains(&kid.len())
            && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        if fits { Ok(Self(kid.to_owned())) } else { Err(KeyError::Kid) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for KeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Jwk {
    pub(crate) const fn new(kid: KeyId, algorithm: Algorithm, public: Public) -> Self {
        Self { kid, algorithm, public }
    }

    pub fn from_json(json: &str) -> Result<Self, KeyError> {
        Self::from_members(&strict::object(json.as_bytes()).ok_or(KeyError::NotAnObject)?)
    }

    /// Public members only, with `kid`, `alg` and `use`.
    pub fn to_json(&self) -> String {
        self.to_value().to_string()
    }

    pub const fn kid(&self) -> &KeyId {
        &self.kid
    }

    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) const fn public(&self) -> &Public {
        &self.public
    }

    pub(crate) fn from_members(members: &Map<String, Value>) -> Result<Self, KeyError> {
        let members = Members(members);
        let kty = members.text("kty")?;
        if kty == "oct" {
            return Err(KeyError::Symmetric);
        }
        members.refuse_private()?;
        let kid = KeyId::parse(members.text("kid").map_err(|_| KeyError::Kid)?)?;
        let algorithm =
            members.text("alg").ok().and_then(|name| name.parse().ok()).ok_or(KeyError::Algorithm)?;
        members.refuse_other_use("sig", "verify")?;
        let public = Public::from_members(kty, algorithm, &members)?;
        Ok(Self { kid, algorithm, public })
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut members = self.public.members();
        members.insert("kid".into(), json!(self.kid.as_str()));
        members.insert("alg".into(), json!(self.algorithm.as_str()));
        members.insert("use".into(), json!("sig"));
        Value::Object(members)
    }
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}
