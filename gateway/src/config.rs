//! What the gateway is told at start. `config/default.toml` explains each key and is compiled in, so that the
//! manual cannot drift from the program.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::config::{ConfigError, Log, Operations, Peer, Resolved, Shutdown, Tls, Validate, prefixed};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use token::Algorithm;

use crate::layers::origin::Origin;

pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub public_url: PublicUrl,
    pub routes: PathBuf,
    pub workers: usize,
    pub trusted_proxies: Vec<Network>,
    pub origins: Vec<Origin>,
    pub server: Public,
    pub internal: Internal,
    pub own: Own,
    pub token: Token,
    pub limits: Limits,
    pub peers: PeerAddresses,
    pub feeds: Feeds,
    pub tls: Tls,
    pub operations: Operations,
    pub log: Log,
    pub shutdown: Shutdown,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Public {
    pub listen: SocketAddr,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Internal {
    /// None: off.
    #[serde(deserialize_with = "optional_address")]
    pub listen: Option<SocketAddr>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// `""`, or `/auth`: what the own paths are below.
    pub prefix: String,
    /// What a browser is told to clear at logout.
    clear_site_data: Vec<ClearSiteData>,
}

/// A directive of `Clear-Site-Data` that makes sense at logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClearSiteData {
    Cache,
    Cookies,
    Storage,
}

impl Own {
    /// The header to send at logout; None: none.
    pub fn clear_site_data(&self) -> Option<http::HeaderValue> {
        let quoted: Vec<&str> = self
            .clear_site_data
            .iter()
            .map(|directive| match directive {
                ClearSiteData::Cache => "\"cache\"",
                ClearSiteData::Cookies => "\"cookies\"",
                ClearSiteData::Storage => "\"storage\"",
            })
            .collect();
        if quoted.is_empty() { None } else { http::HeaderValue::from_str(&quoted.join(", ")).ok() }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub audience: String,
    issuer: String,
    pub algorithms: Vec<Algorithm>,
    #[serde(with = "humantime_serde")]
    pub leeway: Duration,
    pub keys: Vec<PathBuf>,
    pub remembered: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    #[serde(with = "humantime_serde")]
    pub check_timeout: Duration,
    pub body_bytes: u64,
    #[serde(with = "humantime_serde")]
    pub head_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    pub connections: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerAddresses {
    pub auth: Peer,
    pub session: Peer,
    pub policy: Peer,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feeds {
    pub auth: Peer,
    pub policy: Peer,
}

/// The gateway's own address: http or https, a host, nothing after the port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicUrl {
    /// As written, less a trailing slash: the issuer is compared byte for byte.
    text: String,
    origin: Origin,
    loopback: bool,
}

impl PublicUrl {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub fn is_https(&self) -> bool {
        self.origin.is_https()
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        let text = written.strip_suffix('/').unwrap_or(&written).to_owned();
        let origin: Origin = text.parse().map_err(|_| {
            format!("{written:?} is not a public address: write http(s)://host or http(s)://host:port")
        })?;
        let url = url::Url::parse(&text).map_err(|error| error.to_string())?;
        let loopback = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        Ok(Self { text, origin, loopback })
    }
}

/// A network, or one address.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Network(pub IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(Self)
            .map_err(|_| format!("{text:?} is neither a network (10.0.0.0/8) nor an address"))
    }
}

impl Config {
    /// The issuer that tokens must name.
    pub fn issuer(&self) -> &str {
        if self.token.issuer.is_empty() { self.public_url.as_str() } else { &self.token.issuer }
    }

    /// Threads that serve requests.
    pub fn workers(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            set => set,
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut refuse = |problem: &str| problems.push(problem.to_owned());
        if !self.public_url.is_https() {
            if !self.public_url.loopback {
                refuse(
                    "public_url: must be https, except for a loopback host: cookies would travel readable",
                );
            } else if !self.server.listen.ip().is_loopback() {
                refuse("public_url: must be https when server.listen is beyond loopback");
            }
        }
        if self.workers > 1024 {
            refuse("workers: must be at most 1024");
        }
        if self.routes.as_os_str().is_empty() {
            refuse("routes: must name the route file");
        }
        if !own_prefix_is_good(&self.own.prefix) {
            refuse(
                "own.prefix: must be empty or one or more segments such as /auth, without a slash at the end",
            );
        }
        let token = &self.token;
        if token.audience.is_empty() {
            refuse("token.audience: must be set");
        }
        if token.algorithms.is_empty() {
            refuse("token.algorithms: must name at least one of ES256, EdDSA, RS256, PS256");
        }
        if token.leeway > Duration::from_secs(60) {
            refuse("token.leeway: must be at most 60s");
        }
        if token.keys.is_empty() {
            refuse(
                "token.keys: must name at least one private key file, or no first-party token can be opened",
            );
        }
        if token.remembered == 0 {
            refuse("token.remembered: must be at least 1");
        }
        let limits = &self.limits;
        for (key, value) in [
            ("check_timeout", limits.check_timeout),
            ("head_timeout", limits.head_timeout),
            ("body_timeout", limits.body_timeout),
            ("idle_timeout", limits.idle_timeout),
        ] {
            if value.is_zero() {
                problems.push(format!("limits.{key}: must be longer than 0s"));
            }
        }
        if limits.connections == 0 {
            problems.push("limits.connections: must be at least 1".to_owned());
        }
        problems.extend(prefixed("peers.auth", self.peers.auth.problems(self.tls.mode)));
        problems.extend(prefixed("peers.session", self.peers.session.problems(self.tls.mode)));
        problems.extend(prefixed("peers.policy", self.peers.policy.problems(self.tls.mode)));
        problems.extend(prefixed("feeds.auth", self.feeds.auth.problems(self.tls.mode)));
        problems.extend(prefixed("feeds.policy", self.feeds.policy.problems(self.tls.mode)));
        problems.extend(prefixed("tls", self.tls.problems()));
        problems.extend(prefixed("operations", self.operations.problems()));
        problems.extend(prefixed("log", self.log.problems()));
        problems.extend(prefixed("shutdown", self.shutdown.problems()));
        problems
    }
}

/// The configuration, from the defaults, then `file`, then the environment.
pub fn config_from(file: Option<&Path>) -> Result<Resolved<Config>, ConfigError> {
    chassis::config::resolve(DEFAULTS, file, chassis::config::environment())
}

fn own_prefix_is_good(prefix: &str) -> bool {
    prefix.is_empty()
        || prefix.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|segment| {
                !segment.is_empty()
                    && segment != "."
                    && segment != ".."
                    && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
            })
        })
}

fn optional_address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| serde::de::Error::custom(format!("{text:?} is not an address and port")))
}

#[cfg(test)]
mod tests;
