//! The sections that every service has, each with what can be wrong in it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::Targets;

/// What a configuration knows about itself beyond the types of its values.
pub trait Validate {
    /// Everything that is wrong with otherwise well-formed values, one sentence each that begins with the key:
    /// `tls.certificate: must be set`.
    fn problems(&self) -> Vec<String>;

    /// Keys under which names are free, because users choose them: tables (`[audience.x]`) and lists of tables
    /// (`[[route]]`). Below them only the types judge.
    fn open_tables() -> &'static [&'static str] {
        &[]
    }
}

/// Puts a section's name before each of its problems.
pub fn prefixed(section: &str, problems: Vec<String>) -> Vec<String> {
    problems.into_iter().map(|problem| format!("{section}.{problem}")).collect()
}

/// For `#[serde(deserialize_with = "chassis::config::optional")]`: `""` means that the key is not set. TOML has no null,
/// and the default file must name every key.
pub fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    use serde::de::IntoDeserializer as _;
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { T::deserialize(text.into_deserializer()).map(Some) }
}

/// `[server]`: the gRPC listener.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address and port.
    pub listen: SocketAddr,
    /// After this a connection is asked to go (GOAWAY), so that callers spread again over all replicas. `Duration::MAX`: never.
    #[serde(with = "humantime_serde", default = "defaults::max_connection_age")]
    pub max_connection_age: Duration,
    /// How long calls in flight may take after that.
    #[serde(with = "humantime_serde", default = "defaults::max_connection_grace")]
    pub max_connection_grace: Duration,
    /// For callers that send no deadline.
    #[serde(with = "humantime_serde", default = "defaults::deadline")]
    pub default_deadline: Duration,
    /// The largest message accepted, in bytes.
    #[serde(default = "defaults::message_bytes")]
    pub max_message_bytes: usize,
}

impl Server {
    /// A listener on `listen` with every other value as by default.
    pub fn on(listen: SocketAddr) -> Server {
        Server {
            listen,
            max_connection_age: defaults::max_connection_age(),
            max_connection_grace: defaults::max_connection_grace(),
            default_deadline: defaults::deadline(),
            max_message_bytes: defaults::message_bytes(),
        }
    }
}

impl Validate for Server {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.max_connection_age < Duration::from_secs(1) {
            problems.push("max_connection_age: must be at least 1s".to_owned());
        }
        if self.default_deadline.is_zero() {
            problems.push("default_deadline: must be longer than 0s".to_owned());
        }
        if self.max_message_bytes < 4096 {
            problems.push("max_message_bytes: must be at least 4096".to_owned());
        }
        problems
    }
}

/// `[access]`: callers beyond our own processes.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// The `<name>`s in their certificates. They may call what the access table opens to such callers.
    pub services: Vec<String>,
}

impl Validate for Access {
    fn problems(&self) -> Vec<String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let wrong = |name: &String| {
            if name.is_empty() || !name.chars().all(plain) {
                Some(format!(
                    "services: {name:?} cannot be a name: lowercase letters, digits and hyphens only"
                ))
            } else {
                crate::grpc::is_taken(name).then(|| format!("services: {name:?} is a name of ours"))
            }
        };
        self.services.iter().filter_map(wrong).collect()
    }
}

/// Who secures the connections between processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// We do: TLS 1.3, a certificate on both sides, callers known by name.
    Mutual,
    /// A mesh around us does. Connections are plain, and every caller counts as `mesh`.
    External,
}

/// `[tls]`: how processes know one another.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub mode: TlsMode,
    /// PEM: our certificate, then its intermediates.
    #[serde(default)]
    pub certificate: PathBuf,
    /// PEM: its private key. A secret file.
    #[serde(default)]
    pub key: PathBuf,
    /// PEM: the certificates that sign ours and everybody else's.
    #[serde(default)]
    pub authority: PathBuf,
    /// The `<domain>` of `spiffe://<domain>/latchkey/<name>`.
    #[serde(default)]
    pub domain: String,
}

impl Validate for Tls {
    fn problems(&self) -> Vec<String> {
        if self.mode == TlsMode::External {
            return Vec::new();
        }
        let mut problems = Vec::new();
        for (key, path) in
            [("certificate", &self.certificate), ("key", &self.key), ("authority", &self.authority)]
        {
            if path.as_os_str().is_empty() {
                problems.push(format!("{key}: must be set, unless tls.mode is \"external\""));
            }
        }
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
        if self.domain.is_empty() {
            problems.push("domain: must be set, unless tls.mode is \"external\"".to_owned());
        } else if !self.domain.chars().all(letter) {
            problems.push("domain: may hold lowercase letters, digits, dots and hyphens only".to_owned());
        }
        problems
    }
}

/// `[operations]`: the listener for probes and metrics.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Operations {
    pub listen: SocketAddr,
}

impl Validate for Operations {
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line, for collectors.
    #[default]
    Json,
    /// For a person at a terminal.
    Text,
}

/// `[log]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `info`, or per module: `info,hyper=warn`.
    pub level: String,
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Log {
        Log { level: "info".to_owned(), format: LogFormat::Json }
    }
}

impl Validate for Log {
    fn problems(&self) -> Vec<String> {
        match self.level.parse::<Targets>() {
            Ok(_) if !self.level.trim().is_empty() => Vec::new(),
            _ => vec![format!(
                "level: {:?} is neither a level (error, warn, info, debug, trace) nor a list such as info,hyper=warn",
                self.level
            )],
        }
    }
}

/// `[shutdown]`: how a process stops.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// Between saying "not ready" and refusing connections, so that callers and balancers can notice.
    #[serde(with = "humantime_serde")]
    pub settle: Duration,
    /// How long work in flight may take before it is cancelled.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown { settle: Duration::from_secs(1), drain: Duration::from_secs(20) }
    }
}

impl Validate for Shutdown {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.settle > Duration::from_secs(300) {
            problems.push("settle: must be at most 5m".to_owned());
        }
        if self.drain > Duration::from_secs(3600) {
            problems.push("drain: must be at most 1h".to_owned());
        }
        problems
    }
}

/// A neighbour: `[peers.auth]` or wherever a service puts it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// `https://host:port` each (`http://` where `tls.mode` is `external`), or `dns:host:port` for a replica at every
    /// address of a name. One alone need not be a list.
    #[serde(deserialize_with = "one_or_many")]
    pub endpoints: Vec<String>,
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "must be a text or a list of texts")]
    enum Endpoints {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Endpoints::deserialize(deserializer)? {
        Endpoints::One(endpoint) => vec![endpoint],
        Endpoints::Many(endpoints) => endpoints,
    })
}

impl Peer {
    /// Everything that is wrong where connections are secured as `mode` says.
    pub fn problems(&self, mode: TlsMode) -> Vec<String> {
        let mut problems = Vec::new();
        if self.endpoints.is_empty() {
            problems.push("endpoints: must name at least one, such as https://127.0.0.1:7001".to_owned());
        }
        for endpoint in &self.endpoints {
            if let Err(reason) = judge_endpoint(endpoint, mode) {
                problems.push(format!("endpoints: {endpoint:?} {reason}"));
            }
        }
        problems
    }
}

/// Whether it can be reached where connections are secured as `mode` says. The error continues a sentence that begins with it.
pub fn judge_endpoint(endpoint: &str, mode: TlsMode) -> Result<(), &'static str> {
    crate::grpc::client::parse_target(endpoint)?.judge(mode == TlsMode::Mutual)
}

/// The values of keys that a service's `default.toml` need not repeat.
mod defaults {
    use std::time::Duration;

    pub(super) fn max_connection_age() -> Duration {
        Duration::from_secs(600)
    }

    pub(super) fn max_connection_grace() -> Duration {
        Duration::from_secs(30)
    }

    pub(super) fn deadline() -> Duration {
        Duration::from_secs(15)
    }

    pub(super) fn message_bytes() -> usize {
        1024 * 1024
    }
}
