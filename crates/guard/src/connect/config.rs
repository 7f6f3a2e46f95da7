//! What another service is told about the system that it stands on.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub use chassis::config::{Peer, Tls, TlsMode};
use chassis::config::{Validate, prefixed};
use serde::Deserialize;
use token::Algorithm;

/// Part of a service's own configuration, or a file of its own; `docs/guard.md` shows one. Unknown keys are refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who tokens must be from (`iss`), byte for byte: the gateway's public URL.
    pub issuer: String,
    /// Whom they must be for (`aud`): this service.
    pub audience: String,
    /// Signature algorithms believed.
    #[serde(default = "defaults::algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// By how much clocks may differ, at most 60 s.
    #[serde(default = "defaults::leeway", with = "humantime_serde")]
    pub leeway: Duration,
    /// Files with the private keys (JWK) for tokens that are encrypted to this audience, newest first.
    #[serde(default)]
    pub recipient_keys: Vec<PathBuf>,
    /// auth-service: `https://host:port` of each replica, or `dns:host:port`.
    pub auth: Peer,
    /// The feed's port of the same.
    pub feed: Peer,
    /// policy-service, for [`crate::Guard::check`]. Without it every check is unavailable.
    #[serde(default)]
    pub policy: Option<Peer>,
    /// This service's certificate; its name must be in auth-service's `access.services`.
    pub tls: Tls,
    /// What a request waits for an answer when somebody must be asked.
    #[serde(default = "defaults::patience", with = "humantime_serde")]
    pub patience: Duration,
}

/// Why a configuration cannot be used: everything that is wrong, one sentence each that begins with the key.
#[derive(Debug, thiserror::Error)]
#[error("the guard's configuration: {}", .0.join("; "))]
pub struct ConfigInvalid(pub Vec<String>);

impl Config {
    /// From TOML.
    pub fn from_toml(text: &str) -> Result<Self, ConfigInvalid> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigInvalid(vec![error.to_string()]))?;
        config.validate()?;
        Ok(config)
    }

    /// From a TOML file.
    pub fn from_file(path: &Path) -> Result<Self, ConfigInvalid> {
        let unreadable = |error| ConfigInvalid(vec![format!("{} cannot be read: {error}", path.display())]);
        Self::from_toml(&std::fs::read_to_string(path).map_err(unreadable)?)
    }

    pub(super) fn validate(&self) -> Result<(), ConfigInvalid> {
        let Self {
            issuer,
            audience,
            algorithms,
            leeway,
            recipient_keys: _,
            auth,
            feed,
            policy,
            tls,
            patience,
        } = self;
        let mut problems = Vec::new();
        for (key, is_empty) in [("issuer", issuer.is_empty()), ("audience", audience.is_empty())] {
            if is_empty {
                problems.push(format!("{key}: must be set"));
            }
        }
        if algorithms.is_empty() {
            problems.push("algorithms: must name at least one of ES256, EdDSA, RS256, PS256".to_owned());
        }
        if *leeway > token::MAX_LEEWAY {
            problems.push("leeway: must be at most 60s".to_owned());
        }
        if patience.is_zero() {
            problems.push("patience: must be longer than 0s".to_owned());
        }
        problems.extend(prefixed("auth", auth.problems(tls.mode)));
        problems.extend(prefixed("feed", feed.problems(tls.mode)));
        if let Some(policy) = policy {
            problems.extend(prefixed("policy", policy.problems(tls.mode)));
        }
        problems.extend(prefixed("tls", tls.problems()));
        if problems.is_empty() { Ok(()) } else { Err(ConfigInvalid(problems)) }
    }
}

mod defaults {
    use super::{Algorithm, Duration};

    pub(super) fn algorithms() -> Vec<Algorithm> {
        vec![Algorithm::Es256]
    }

    pub(super) fn leeway() -> Duration {
        Duration::from_secs(30)
    }

    pub(super) fn patience() -> Duration {
        Duration::from_millis(250)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        issuer = "https://login.example.com"
        audience = "reports"
        auth.endpoints = "https://127.0.0.1:7001"
        feed.endpoints = ["https://127.0.0.1:7011"]
        [tls]
        mode = "mutual"
        certificate = "reports.crt"
        key = "reports.key"
        authority = "ca.crt"
        domain = "example.internal"
    "#;

    #[test]
    fn what_need_not_be_said_has_a_default() {
        let config = Config::from_toml(GOOD).unwrap();
        assert_eq!(config.algorithms, [Algorithm::Es256]);
        assert_eq!((config.leeway, config.patience), (Duration::from_secs(30), Duration::from_millis(250)));
        assert!(config.policy.is_none() && config.recipient_keys.is_empty());
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let bad = GOOD
            .replace("\"reports\"", "\"\"")
            .replace("feed.endpoints = [\"https://127.0.0.1:7011\"]", "feed.endpoints = []\nleeway = \"2m\"")
            .replace("\"reports.key\"", "\"\"");
        let ConfigInvalid(problems) = Config::from_toml(&bad).unwrap_err();
        let keys: Vec<&str> = problems.iter().filter_map(|problem| problem.split(':').next()).collect();
        assert_eq!(keys, ["audience", "leeway", "feed.endpoints", "tls.key"]);
        assert!(
            Config::from_toml(&format!("isuer = \"x\"\n{GOOD}")).unwrap_err().to_string().contains("isuer")
        );
    }
}
