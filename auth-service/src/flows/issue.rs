//! Making a token: signed with the active key, and encrypted where its audience has registered a key.

use std::sync::Arc;

use chassis::entropy::{self, Entropy};
use token::{AccessClaims, IssueError, TYP_ACCESS};

use super::{Auth, Failure, keys::Ring};
use crate::domain::claims::{Issue, MAX_TOKEN_BYTES};

/// What a token endpoint hands out.
pub struct TokenSet {
    pub access_token: String,
    /// Seconds.
    pub expires_in: u32,
    /// Empty where none is issued.
    pub refresh_token: zeroize::Zeroizing<String>,
    pub scope: String,
}

impl Auth {
    /// The seconds for which an access token is good.
    pub(super) fn expires_in(&self) -> u32 {
        u32::try_from(self.settings.access_lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    /// A new `jti`.
    pub(super) fn jti(&self) -> String {
        jti(self.entropy.as_ref())
    }

    pub(super) fn issue<'a>(&'a self, jti: &'a str, now: time::OffsetDateTime) -> Issue<'a> {
        Issue { issuer: &self.settings.issuer, jti, now, lifetime: self.settings.access_lifetime }
    }

    pub(super) async fn access_token(&self, claims: AccessClaims) -> Result<String, Failure> {
        Ok(self.access_token_by(&*self.recent_ring().await?, claims)?)
    }

    /// One that would be too long for a cookie and a header goes without roles: who reads it asks for them.
    pub(super) fn access_token_by(
        &self,
        ring: &Ring,
        mut claims: AccessClaims,
    ) -> Result<String, IssueError> {
        let token = self.compact(ring, &claims)?;
        if token.len() <= MAX_TOKEN_BYTES || claims.roles.is_none() {
            return Ok(token);
        }
        claims.roles = None;
        self.compact(ring, &claims)
    }

    /// The keys to publish, also while the store cannot be asked. One that another replica has ended is not among them from when
    /// that was acknowledged.
    pub async fn ring(&self) -> Result<Arc<Ring>, Failure> {
        Ok(self.keys.ring_after(self.feed.view().keys_ended, self.now()).await?)
    }

    /// The keys of now, to sign and to verify with: what one signs that is gone would be believed by nobody, and what it signed is
    /// not believed here.
    pub(super) async fn recent_ring(&self) -> Result<Arc<Ring>, Failure> {
        Ok(self.keys.recent_ring(self.feed.view().keys_ended, self.now()).await?)
    }

    fn compact(&self, ring: &Ring, claims: &AccessClaims) -> Result<String, IssueError> {
        let jws = ring.active().sign(TYP_ACCESS, claims)?;
        // A token has one audience here, so one recipient decides.
        match claims.aud.first().and_then(|audience| self.settings.recipients.get(audience)) {
            Some(recipient) => token::seal(&jws, recipient),
            None => Ok(jws),
        }
    }
}

/// 128 random bits: no two tokens share one (RFC 9068 §2.2).
fn jti(entropy: &dyn Entropy) -> String {
    entropy::id(entropy, "")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chassis::entropy::SystemEntropy;

    use super::*;

    /// From the source that a service reads.
    #[test]
    fn j20_no_jti_twice_in_a_million() {
        const MILLION: usize = 1_000_000;
        let source = SystemEntropy::shared();
        let made: HashSet<String> = (0..MILLION).map(|_| jti(source.as_ref())).collect();
        assert_eq!(made.len(), MILLION);
    }
}
