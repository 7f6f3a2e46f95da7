//! Which rule is a request's: the route file, read and judged as a whole, and the look-up.
//!
//! INVARIANT: the path that is matched is the path that is sent on, byte for byte, less a `strip_prefix`. Nothing
//! is decoded, cleaned or merged on the way; a path that could be read in two ways is refused before it gets here.

mod document;
mod own_paths;
pub mod path;
mod pattern;
mod read;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderValue, Method};

pub use own_paths::OwnPaths;
pub use pattern::Pattern;
pub use table::{Found, Routes};

/// What a route reads a caller from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    Token,
    Session,
    /// There are none yet; a route may already say that it will take them.
    ApiKey,
}

/// What a believed caller must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    Nothing,
    Role(String),
    Permission { permission: String, resource: Option<ResourceTemplate> },
}

/// `kind/{parameter}` or `kind/id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceTemplate {
    pub kind: String,
    pub id: ResourceId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceId {
    Fixed(String),
    /// The segment of the path with this number.
    Segment(usize),
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Route {
    pub pattern: Pattern,
    pub host: Host,
    /// None: every method.
    pub methods: Option<Vec<Method>>,
    /// Empty: open, no credential is read.
    pub accept: Vec<Accept>,
    pub require: Requirement,
    /// Index into [`Routes::upstreams`].
    pub upstream: usize,
    /// So many bytes are taken off the front of the path.
    pub strip: usize,
    /// Whether the application is told who calls.
    pub identity: bool,
    pub pass_credential: bool,
    pub allow_encoded_slash: bool,
    /// For so long after the last news of endings old answers are preferred to none. Zero: never.
    pub stale_for: Duration,
    /// The largest body; None: as everywhere.
    pub body_bytes: Option<u64>,
    line: usize,
}

impl Route {
    fn takes(&self, method: &Method) -> bool {
        self.methods.as_ref().is_none_or(|methods| methods.contains(method))
    }
}

/// Which names a route answers to, most particular first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Exact(String),
    /// `*.example.com`, kept as `.example.com`.
    Below(String),
    Any,
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Host::Exact(host) => f.write_str(host),
            Host::Below(suffix) => write!(f, "*{suffix}"),
            Host::Any => f.write_str("*"),
        }
    }
}

/// An application behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamRule {
    pub name: String,
    pub addresses: Addresses,
    pub protocol: Protocol,
    /// To the first byte of the answer.
    pub timeout: Duration,
    /// For a place, and then for a connection.
    pub connect_timeout: Duration,
    /// Requests at once, over all threads.
    pub concurrency: usize,
    /// Requests that wait for a place.
    pub queue: usize,
    /// None: endpoints are not asked how they are.
    pub health: Option<Health>,
}

/// Where an application is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// `host:port` each.
    Listed(Vec<String>),
    /// Every address behind this `host:port`.
    Dns(String),
}

/// What an application speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    /// Without TLS, with prior knowledge (RFC 9113 §3.3).
    Http2,
}

/// How an endpoint is asked how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub path: String,
    pub interval: Duration,
    pub timeout: Duration,
}

/// One thing that is wrong with a route file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    pub line: usize,
    pub message: String,
}

/// Everything that is wrong with a route file.
#[derive(Debug, thiserror::Error)]
pub enum RouteFileError {
    #[error("routes: {} cannot be read: {source}", .path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}", told(.path, .complaints))]
    Refused { path: PathBuf, complaints: Vec<Complaint> },
}

fn told(path: &Path, complaints: &[Complaint]) -> String {
    let lines: Vec<String> = complaints
        .iter()
        .map(|complaint| format!("{}:{}: {}", path.display(), complaint.line, complaint.message))
        .collect();
    lines.join("\n")
}

/// Reads the route file at `path`.
pub fn load(path: &Path, own: OwnPaths) -> Result<Routes, RouteFileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| RouteFileError::Unreadable { path: path.to_owned(), source })?;
    parse(&text, own).map_err(|complaints| RouteFileError::Refused { path: path.to_owned(), complaints })
}

/// Reads the text of a route file.
pub fn parse(text: &str, own: OwnPaths) -> Result<Routes, Vec<Complaint>> {
    let (upstreams, routes, mut complaints) = read::read(text);
    complaints.extend(table::conflicts(&routes, &own));
    complaints.sort_by_key(|complaint| complaint.line);
    if complaints.is_empty() { Ok(Routes::new(upstreams, routes, own)) } else { Err(complaints) }
}

/// The `Allow` of a 405.
fn allow<'a>(methods: impl Iterator<Item = &'a Method>) -> HeaderValue {
    let names: Vec<&str> = methods.map(Method::as_str).collect();
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
