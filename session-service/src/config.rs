//! What can be configured: `config/default.toml` says it in full, and this gives it types.

use std::path::Path;
use std::time::Duration;

use chassis::config::{
    self, ConfigError, Log, Operations, Peer, Resolved, Server, Shutdown, Store, Tls, Validate, prefixed,
};
use serde::Deserialize;
use token::{Algorithm, Expect, ExpectError, MAX_LEEWAY};

use crate::domain::{AtLimit, Lifetimes, Limit};
use crate::store::postgres::PostgresSettings;
use crate::store::redis::RedisSettings;
use crate::store::sqlite::SqliteSettings;

/// The commented defaults; the reference manual is generated from them.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// The store URL without a file.
const MEMORY: &str = "memory";

/// What one of Redis looks like.
const REDIS: &str = "redis://HOST:PORT/DATABASE";

/// The audience that login proofs name.
const AUDIENCE: &str = "session";

/// All of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub issuer: String,
    pub server: Server,
    pub tls: Tls,
    pub operations: Operations,
    pub log: Log,
    pub shutdown: Shutdown,
    pub peers: Peers,
    pub proof: Proof,
    pub sessions: Sessions,
    pub store: Store,
    pub sweep: Sweep,
}

/// `[peers]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    pub auth: Peer,
}

/// `[proof]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    pub algorithms: Vec<Algorithm>,
    #[serde(with = "humantime_serde")]
    pub leeway: Duration,
}

/// `[sessions]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub absolute_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub rotation_grace: Duration,
    pub limit: u32,
    pub at_limit: LimitPolicy,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitPolicy {
    EndOldest,
    Refuse,
}

/// What `store.url` stands for.
#[derive(Debug, Clone)]
pub enum Backend {
    Memory,
    Sqlite(SqliteSettings),
    Postgres(Box<PostgresSettings>),
    Redis(Box<RedisSettings>),
}

/// `[sweep]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
}

/// The defaults, then `file`, then the environment.
pub fn config_from(file: Option<&Path>) -> Result<Resolved<Config>, ConfigError> {
    config::resolve(DEFAULTS, file, config::environment())
}

impl Config {
    /// `None` for a URL that names no store. Never once [`Validate::problems`] is empty.
    pub fn backend(&self) -> Option<Backend> {
        if self.store.url == MEMORY {
            return Some(Backend::Memory);
        }
        if RedisSettings::are_meant_by(&self.store.url) {
            return redis(&self.store).ok().map(Box::new).map(Backend::Redis);
        }
        self.store
            .sqlite()
            .map(Backend::Sqlite)
            .or_else(|| self.store.postgres().map(Box::new).map(Backend::Postgres))
    }

    /// What a login proof must say.
    pub fn expect(&self) -> Result<Expect, ExpectError> {
        Expect::new(&self.issuer, AUDIENCE, self.proof.algorithms.clone(), self.proof.leeway)
    }
}

impl Sessions {
    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            idle: self.idle_timeout,
            absolute: self.absolute_timeout,
            rotation_grace: self.rotation_grace,
        }
    }

    pub fn limit(&self) -> Limit {
        let at_limit = match self.at_limit {
            LimitPolicy::EndOldest => AtLimit::EndOldest,
            LimitPolicy::Refuse => AtLimit::Refuse,
        };
        Limit { most: self.limit, at_limit }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<String> {
        let Self { issuer, server, tls, operations, log, shutdown, peers, proof, sessions, store, sweep } =
            self;
        let issuer = if issuer.is_empty() {
            vec!["issuer: must be set to the gateway's public URL".to_owned()]
        } else {
            Vec::new()
        };
        [
            issuer,
            prefixed("server", server.problems()),
            prefixed("tls", tls.problems()),
            prefixed("operations", operations.problems()),
            prefixed("log", log.problems()),
            prefixed("shutdown", shutdown.problems()),
            prefixed("peers.auth", peers.auth.problems(tls.mode)),
            prefixed("proof", proof.problems()),
            prefixed("sessions", sessions.problems()),
            prefixed("store", problems_of_store(store)),
            prefixed("sweep", sweep.problems()),
        ]
        .concat()
    }
}

fn redis(store: &Store) -> Result<RedisSettings, String> {
    let password_file = Some(store.password_file.clone()).filter(|path| !path.as_os_str().is_empty());
    RedisSettings::new(&store.url, password_file, store.timeout)
}

fn problems_of_store(store: &Store) -> Vec<String> {
    if !RedisSettings::are_meant_by(&store.url) {
        return store.problems(&[MEMORY, REDIS]);
    }
    let of_redis = redis(store).err().map(|problem| format!("url: {problem}"));
    // The other keys, under a URL that is nothing to complain of.
    let others = Store { url: MEMORY.to_owned(), ..store.clone() };
    of_redis.into_iter().chain(others.problems(&[MEMORY])).collect()
}

impl Validate for Proof {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.algorithms.is_empty() {
            problems.push("algorithms: must name at least one".to_owned());
        }
        if self.leeway > MAX_LEEWAY {
            problems.push("leeway: must be at most 60s".to_owned());
        }
        problems
    }
}

impl Validate for Sessions {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.idle_timeout < Duration::from_secs(1) {
            problems.push("idle_timeout: must be at least 1s".to_owned());
        }
        if self.absolute_timeout < self.idle_timeout {
            problems.push("absolute_timeout: must not be shorter than idle_timeout".to_owned());
        }
        if self.absolute_timeout > Duration::from_secs(366 * 24 * 3600) {
            problems.push("absolute_timeout: must be at most 366days".to_owned());
        }
        if self.rotation_grace > Duration::from_secs(60) {
            problems.push("rotation_grace: must be at most 60s".to_owned());
        }
        if !(1..=10_000).contains(&self.limit) {
            problems.push("limit: must be 1 to 10000".to_owned());
        }
        problems
    }
}

impl Validate for Sweep {
    fn problems(&self) -> Vec<String> {
        if (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&self.interval) {
            return Vec::new();
        }
        vec!["interval: must be 1s to 1h".to_owned()]
    }
}

#[cfg(test)]
mod tests;
