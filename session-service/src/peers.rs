//! Neighbours, as far as session-service needs them: auth-service's public keys, and nothing else of it.

pub mod auth;

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

/// The keys that sign login proofs.
#[async_trait]
pub trait KeySets: Send + Sync {
    async fn fetch(&self) -> Result<PublishedKeys, KeysUnavailable>;
}

/// A JWK Set (RFC 7517) as it was published.
#[derive(Clone, Debug)]
pub struct PublishedKeys {
    pub jwks: String,
    /// How long it may be relied on.
    pub max_age: Duration,
}

/// auth-service could not be asked, or answered what is no key set.
#[derive(Debug, Error)]
#[error("the keys of auth-service could not be had")]
pub struct KeysUnavailable(#[source] Box<dyn Error + Send + Sync>);

impl KeysUnavailable {
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> KeysUnavailable {
        KeysUnavailable(source.into())
    }
}
