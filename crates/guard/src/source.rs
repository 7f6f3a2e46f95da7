//! Where the issuer's keys come from. The guard knows no transport.

use std::{error::Error, time::Duration};

use async_trait::async_trait;

#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// The present key set. Called by one task at a time, no more often than [`crate::Settings::refetch_interval`]
    /// once a set is there, and cancelled after [`crate::Settings::fetch_timeout`].
    async fn fetch(&self) -> Result<FetchedKeys, SourceUnavailable>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedKeys {
    /// A JWK Set as JSON.
    pub jwks: String,
    /// For how long the issuer lets it be kept.
    pub max_age: Duration,
}

/// No usable key set could be had. What was known before stays in force.
#[derive(Debug, thiserror::Error)]
#[error("the issuer's keys cannot be fetched")]
pub struct SourceUnavailable(#[source] pub Box<dyn Error + Send + Sync>);

impl SourceUnavailable {
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}
