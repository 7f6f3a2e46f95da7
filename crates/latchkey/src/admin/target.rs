//! Which system a command is for, and with what it may act there.
//!
//! `--server` names one that `latchkey login` knows. Without it, a stack that runs under the state directory is used as its
//! administrator; else the last login.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Access;
use super::api::Api;
use crate::private_file;
use crate::up::layout::Layout;
use crate::up::stack_file::StackFile;

/// A system that can be administered.
#[derive(Debug, Clone)]
pub struct Target {
    /// The gateway's internal listener.
    pub internal: String,
    /// Where logins go.
    pub public: String,
    pub credential: Credential,
    /// The local stack that it is.
    pub stack: Option<Layout>,
}

/// With what a token is got when none is kept, or the one that is kept has expired.
#[derive(Debug, Clone)]
pub enum Credential {
    /// The password of a local stack's administrator.
    PasswordFile { username: String, password_file: PathBuf, token_file: PathBuf },
    /// The refresh token of `latchkey login`.
    Login(Logins),
}

/// A token as it is kept in a file of mode 0600.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeptToken {
    pub public: String,
    pub access_token: String,
    #[serde(with = "time::serde::timestamp")]
    pub expires_at: OffsetDateTime,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refresh_token: String,
}

/// What `latchkey login` keeps: a token per server, and which was the last.
#[derive(Debug, Clone)]
pub struct Logins {
    pub file: PathBuf,
    pub server: String,
}

#[derive(Default, Serialize, Deserialize)]
struct LoginFile {
    last: String,
    servers: BTreeMap<String, KeptToken>,
}

impl std::fmt::Debug for KeptToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptToken").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Target {
    pub fn find(access: &Access) -> Result<Self> {
        if let Some(server) = &access.server {
            let server = normal(server)?;
            let file = login_file()?;
            let Some(kept) = read(&file)?.servers.remove(&server) else {
                bail!("there is no login for {server}: run `latchkey login --server {server}`");
            };
            return Ok(Self {
                internal: server.clone(),
                public: kept.public,
                credential: Credential::Login(Logins { file, server }),
                stack: None,
            });
        }
        let layout = Layout::at(&access.state_dir)?;
        if let Some(stack) = StackFile::read(&layout.stack_file())? {
            let (Some(internal), Some(public)) =
                (stack.internal.into_iter().next(), stack.gateways.into_iter().next())
            else {
                bail!("{} names no gateway", layout.stack_file().display());
            };
            let credential = Credential::PasswordFile {
                username: stack.admin.username,
                password_file: stack.admin.password_file,
                token_file: layout.admin_token_file(),
            };
            return Ok(Self { internal, public, credential, stack: Some(layout) });
        }
        let file = login_file()?;
        let mut logins = read(&file)?;
        if let Some(kept) = logins.servers.remove(&logins.last) {
            let server = logins.last;
            return Ok(Self {
                internal: server.clone(),
                public: kept.public,
                credential: Credential::Login(Logins { file, server }),
                stack: None,
            });
        }
        bail!(
            "no stack runs on {}: start one with `latchkey up`, name another --state-dir, or use `latchkey login --server URL`",
            layout.root().display()
        )
    }

    /// Why it could not be reached, where that is known: a stack that was killed left its stack file behind.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let refused = error.chain().any(|cause| {
            cause
                .downcast_ref::<reqwest::Error>()
                .is_some_and(|error| error.is_connect() || error.is_request())
        });
        match &self.stack {
            Some(layout) if refused && !layout.runs() => not_running(layout),
            _ => error,
        }
    }

    pub fn connect(self) -> Result<Api> {
        Api::new(self)
    }
}

impl Credential {
    /// What was kept, whether it is still good or not.
    pub fn kept(&self) -> Result<Option<KeptToken>> {
        match self {
            Credential::PasswordFile { token_file, .. } => match fs::read(token_file) {
                // Kept to save a login: what cannot be used is got anew.
                Ok(text) => Ok(serde_json::from_slice(&text).ok()),
                Err(_) => Ok(None),
            },
            Credential::Login(Logins { file, server }) => Ok(read(file)?.servers.remove(server)),
        }
    }

    pub fn keep(&self, token: &KeptToken) -> Result<()> {
        match self {
            Credential::PasswordFile { token_file, .. } => {
                let text = serde_json::to_vec(token).context("a token cannot be written as JSON")?;
                private_file::write(token_file, &text)
            }
            Credential::Login(logins) => logins.keep(token),
        }
    }
}

impl Logins {
    pub fn of(server: &str) -> Result<Self> {
        Ok(Self { file: login_file()?, server: normal(server)? })
    }

    pub fn keep(&self, token: &KeptToken) -> Result<()> {
        let mut logins = read(&self.file)?;
        logins.last.clone_from(&self.server);
        logins.servers.insert(self.server.clone(), token.clone());
        if let Some(folder) = self.file.parent() {
            private_file::create_folder(folder)?;
        }
        let text = serde_json::to_vec_pretty(&logins).context("logins cannot be written as JSON")?;
        private_file::write(&self.file, &text)
    }
}

/// A stack file is there, and no stack.
pub fn not_running(layout: &Layout) -> anyhow::Error {
    let root = layout.root().display();
    anyhow!("the stack on {root} is not running (it was killed): start it with `latchkey up`")
}

fn normal(server: &str) -> Result<String> {
    let url =
        url::Url::parse(server).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match url {
        Some(_) => Ok(server.trim_end_matches('/').to_owned()),
        None => bail!("{server:?} is no URL: write https://host or https://host:port"),
    }
}

fn login_file() -> Result<PathBuf> {
    let home =
        std::env::home_dir().filter(|home| home.is_absolute()).context("this user has no home directory")?;
    Ok(home.join(".config").join("latchkey").join("logins.json"))
}

fn read(file: &PathBuf) -> Result<LoginFile> {
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged: remove it and log in again", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(LoginFile::default()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
    }
}
