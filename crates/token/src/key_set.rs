//! The signing keys of one issuer as a JWK Set (RFC 7517 §5): what is published, and what tokens are verified with.

use std::{collections::HashMap, fmt};

use jsonwebtoken::DecodingKey;
use serde_json::{Value, json};

use crate::{Algorithm, Jwk, KeyError, KeyId, json as strict};

/// More keys than any rotation needs; a larger set is a mistake or an attack.
pub const MAX_KEYS: usize = 64;

/// Public keys with unique ids, each for exactly one algorithm. May be empty.
#[derive(Clone, Default)]
pub struct KeySet {
    /// In the order given, which is the order published.
    keys: Vec<Jwk>,
    verifying: HashMap<KeyId, VerifyingKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    #[error("not a JSON object with unique member names")]
    NotAnObject,
    #[error("`keys` is missing or not an array of objects")]
    NoKeys,
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
    #[error("key {index}: {source}")]
    Key { index: usize, source: KeyError },
    #[error("key {index} has the kid of another")]
    KidRepeated { index: usize },
}

/// A public key ready to verify.
#[derive(Clone)]
pub(crate) struct VerifyingKey {
    algorithm: Algorithm,
    decoding: DecodingKey,
}

impl KeySet {
    pub fn new(keys: impl IntoIterator<Item = Jwk>) -> Result<Self, KeySetError> {
        let mut set = Self::default();
        for (index, key) in keys.into_iter().enumerate() {
            if index == MAX_KEYS {
                return Err(KeySetError::TooMany);
            }
            let verifying =
                VerifyingKey { algorithm: key.algorithm(), decoding: key.public().decoding_key() };
            if set.verifying.insert(key.kid().clone(), verifying).is_some() {
                return Err(KeySetError::KidRepeated { index });
            }
            set.keys.push(key);
        }
        Ok(set)
    }

    /// One bad key refuses the whole set: half a set would answer "unknown key" for what is known.
    pub fn from_json(json: &str) -> Result<Self, KeySetError> {
        let members = strict::object(json.as_bytes()).ok_or(KeySetError::NotAnObject)?;
        let keys = members.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoKeys)?;
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let mut parsed = Vec::with_capacity(keys.len());
        for (index, key) in keys.iter().enumerate() {
            let key = key.as_object().ok_or(KeySetError::NoKeys)?;
            parsed.push(Jwk::from_members(key).map_err(|source| KeySetError::Key { index, source })?);
        }
        Self::new(parsed)
    }

    /// Public members only.
    pub fn to_json(&self) -> String {
        json!({ "keys": self.keys.iter().map(Jwk::to_value).collect::<Vec<_>>() }).to_string()
    }

    pub fn find(&self, kid: &str) -> Option<&Jwk> {
        self.keys.iter().find(|key| key.kid().as_str() == kid)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Jwk> {
        self.keys.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn verifying(&self, kid: &KeyId) -> Option<&VerifyingKey> {
        self.verifying.get(kid)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| (key.kid(), key.algorithm()))).finish()
    }
}

impl VerifyingKey {
    pub(crate) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `signature` as in the token. Its base64url is decoded strictly: another spelling of the right octets fails.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.decoding, self.algorithm.jsonwebtoken())
            .unwrap_or(false)
    }
}

#[cfg(test)]
mod tests;
