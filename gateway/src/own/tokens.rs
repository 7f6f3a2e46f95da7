//! Verifying and opening access tokens, as far as the own endpoints need it: the guard behind a trait, so that
//! handlers can be tested without keys.

use std::sync::Arc;

use async_trait::async_trait;
use guard::{Principal, Refusal};
use time::OffsetDateTime;
use token::Issued;

use crate::state::Shared;

/// Who says whether an access token is good, and holds the keys that open encrypted ones.
#[async_trait]
pub trait Tokens: Send + Sync {
    async fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Principal, Refusal>;
    /// To whom a token was issued, expired or not. No credential: for ending the login that it came from.
    async fn issued(&self, token: &str) -> Result<Issued, Refusal>;
    /// What is inside an encrypted token, verified by nobody.
    async fn open(&self, jwe: &str) -> Result<String, Refusal>;
}

/// The gateway's guard.
pub(super) struct ByGuard(pub(super) Arc<Shared>);

#[async_trait]
impl Tokens for ByGuard {
    async fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Principal, Refusal> {
        let guard = &self.0.guard;
        if let Some(verified) = guard.remembered(token, now) {
            return Ok(verified.principal.clone());
        }
        guard.verify(token, now).await.map(|verified| verified.principal.clone())
    }
    async fn issued(&self, token: &str) -> Result<Issued, Refusal> {
        self.0.guard.issued(token).await
    }
    async fn open(&self, jwe: &str) -> Result<String, Refusal> {
        self.0.guard.open(jwe).await
    }
}
