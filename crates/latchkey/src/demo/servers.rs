//! The stores that sessions are shown in, started here when they are installed.

use std::path::Path;

use anyhow::{Context, Result};
use servers::{Postgres, Redis, Sync};

use super::Kind;

/// Stopped when dropped.
pub enum Server {
    None,
    Postgres(Postgres),
    Redis(Redis),
}

pub fn is_installed(kind: Kind) -> bool {
    match kind {
        Kind::Tokens | Kind::Sqlite => true,
        Kind::Postgres => is_there("initdb"),
        Kind::Redis => is_there("redis-server"),
    }
}

/// A new one for each stack: what one stack seals, another cannot open. The error says why it does not start.
pub fn start(kind: Kind) -> Result<Server> {
    let server = match kind {
        Kind::Tokens | Kind::Sqlite => Ok(Server::None),
        Kind::Postgres => Postgres::try_start(Sync::On).map(Server::Postgres),
        Kind::Redis => Redis::try_start().map(Server::Redis),
    };
    server.with_context(|| {
        format!("{} needs {}, which is installed and does not start here", kind.title(), package(kind))
    })
}

pub fn missing(kind: Kind) -> String {
    format!("{} needs the Debian package {}, which is not installed", kind.title(), package(kind))
}

fn package(kind: Kind) -> &'static str {
    if kind == Kind::Postgres { "postgresql" } else { "redis-server" }
}

impl Server {
    /// What `latchkey up` is told.
    pub fn arguments(&self) -> Vec<String> {
        match self {
            Server::None => Vec::new(),
            Server::Postgres(server) => vec!["--database".into(), server.url()],
            Server::Redis(server) => vec!["--sessions".into(), server.url()],
        }
    }
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    debian
        .map(|version| version.path().join("bin"))
        .chain(std::env::split_paths(&path))
        .any(|folder| Path::new(&folder).join(program).is_file())
}
