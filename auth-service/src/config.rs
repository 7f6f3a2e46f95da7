//! What can be configured: `config/default.toml` says it in full, and this gives it types.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use chassis::config::{
    self, Access, ConfigError, Log, Operations, Peer, Resolved, Server, Shutdown, Store, Tls,
};
use feed::grpc::Feed;
use serde::Deserialize;
use token::Algorithm;

use crate::domain::{
    claims::{LONGEST_TOKEN, PROOF_AUDIENCE},
    client::Audience,
    password::PasswordRules,
    refresh::RefreshPolicy,
    signing_key::KeySchedule,
    throttle::ThrottlePolicy,
};

mod problems;

/// The commented defaults; the reference manual is generated from them.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// What a token or proof may still be believed for after its expiry, by a verifier's leeway and by what was under way
/// when the key retired. A retiring key is published for so much longer.
const KEY_MARGIN: Duration = Duration::from_secs(60 + 600);

/// All of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub issuer: String,
    pub server: Server,
    pub tls: Tls,
    pub access: Access,
    pub operations: Operations,
    pub feed: Feed,
    pub log: Log,
    pub shutdown: Shutdown,
    pub peers: Peers,
    pub store: Store,
    pub first_party: FirstParty,
    pub audience: BTreeMap<String, Recipient>,
    pub token: Token,
    pub refresh: Refresh,
    pub signing: Signing,
    pub registration: Registration,
    pub password: Password,
    pub hashing: Hashing,
    pub throttle: Throttle,
    pub endings: Endings,
    pub sweep: Sweep,
}

/// `[peers]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    pub policy: Peer,
}

/// `[first_party]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstParty {
    pub audience: String,
    pub encrypt_to: PathBuf,
}

/// `[audience.<name>]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// `None`: a plain signed token, as for audiences that are not named here.
    pub encrypt_to: Option<PathBuf>,
}

/// `[token]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    #[serde(with = "humantime_serde")]
    pub access_lifetime: Duration,
    #[serde(with = "humantime_serde")]
    pub proof_lifetime: Duration,
}

/// `[refresh]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    #[serde(with = "humantime_serde")]
    pub absolute: Duration,
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

/// `[signing]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signing {
    pub master_key: PathBuf,
    pub algorithm: Algorithm,
    #[serde(with = "humantime_serde")]
    pub rotate_every: Duration,
    #[serde(with = "humantime_serde")]
    pub announce_for: Duration,
    #[serde(with = "humantime_serde")]
    pub jwks_max_age: Duration,
    #[serde(with = "humantime_serde")]
    pub look_every: Duration,
}

/// `[registration]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    pub open: bool,
}

/// `[password]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Password {
    pub min_characters: usize,
    pub context_words: Vec<String>,
}

/// `[hashing]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hashing {
    pub threads: usize,
    pub queue: usize,
}

/// `[throttle]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    pub free_failures: u32,
    #[serde(with = "humantime_serde")]
    pub first_delay: Duration,
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    #[serde(with = "humantime_serde")]
    pub forget_after: Duration,
}

/// `[endings]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endings {
    #[serde(with = "humantime_serde")]
    pub longest_session: Duration,
}

/// `[sweep]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    pub batch: u32,
}

/// The defaults, then `file`, then the environment.
pub fn config_from(file: Option<&Path>) -> Result<Resolved<Config>, ConfigError> {
    config::resolve(DEFAULTS, file, config::environment())
}

impl Config {
    pub fn key_schedule(&self) -> KeySchedule {
        KeySchedule {
            algorithm: self.signing.algorithm,
            rotate_every: self.signing.rotate_every,
            announce_for: self.signing.announce_for,
            // A replica that has not looked since goes on signing with the one that retires.
            outlives: self.token.access_lifetime.max(self.token.proof_lifetime)
                + self.signing.look_every
                + KEY_MARGIN,
        }
    }

    /// Of whatever carries the epoch of a user or client. Of tokens the longest that any replica may be set to, now or before: what
    /// this one ends another has issued.
    pub fn longest_life(&self) -> Duration {
        LONGEST_TOKEN.max(self.token.proof_lifetime + self.endings.longest_session)
    }

    pub fn password_rules(&self) -> PasswordRules {
        let mut context_words = vec!["latchkey".to_owned()];
        context_words.extend(self.password.context_words.iter().cloned());
        PasswordRules { min_characters: self.password.min_characters, context_words }
    }

    pub fn refresh_policy(&self) -> RefreshPolicy {
        let Refresh { idle, absolute, grace } = self.refresh;
        RefreshPolicy { idle, absolute, grace }
    }

    pub fn throttle_policy(&self) -> ThrottlePolicy {
        let Throttle { free_failures, first_delay, max_delay, forget_after } = self.throttle;
        ThrottlePolicy { free: free_failures, first_delay, max_delay, forget_after }
    }
}

/// An audience that tokens may be issued for.
fn is_audience(name: &str) -> bool {
    Audience::parse(name).is_ok() && name != PROOF_AUDIENCE
}

#[cfg(test)]
mod tests;
