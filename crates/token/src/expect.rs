//! What a verifier demands of a token. Built once, checked when built: a verifier without an issuer or an audience,
//! or with a leeway past a minute, cannot exist.

use std::time::Duration;

use crate::Algorithm;

/// The most that clocks may differ when expiry is judged (J09).
pub const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// Issuer and audience are compared byte for byte. The `typ` is not among them: it goes with the kind of claims, so
/// each `verify_*` has its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    issuer: String,
    audience: String,
    algorithms: Vec<Algorithm>,
    leeway: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExpectError {
    #[error("the issuer is empty")]
    Issuer,
    #[error("the audience is empty")]
    Audience,
    #[error("no algorithm is accepted")]
    Algorithms,
    #[error("the leeway is longer than 60 s")]
    Leeway,
}

impl Expect {
    pub fn new(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        algorithms: impl Into<Vec<Algorithm>>,
        leeway: Duration,
    ) -> Result<Self, ExpectError> {
        let expect =
            Self { issuer: issuer.into(), audience: audience.into(), algorithms: algorithms.into(), leeway };
        if expect.issuer.is_empty() {
            return Err(ExpectError::Issuer);
        }
        if expect.audience.is_empty() {
            return Err(ExpectError::Audience);
        }
        if expect.algorithms.is_empty() {
            return Err(ExpectError::Algorithms);
        }
        if leeway > MAX_LEEWAY {
            return Err(ExpectError::Leeway);
        }
        Ok(expect)
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn audience(&self) -> &str {
        &self.audience
    }

    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    pub const fn leeway(&self) -> Duration {
        self.leeway
    }
}
