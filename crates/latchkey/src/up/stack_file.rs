//! `stack.json`: where a running stack is. Written last, when everything is ready, in one step: whoever sees it can use what
//! it names. Scripts and the command line read it; removed when the stack stops.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::private_file;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StackFile {
    /// URLs of the public listeners.
    pub gateways: Vec<String>,
    /// URLs of the gateways' internal listeners.
    pub internal: Vec<String>,
    /// gRPC URLs of each service's replicas.
    pub services: BTreeMap<String, Vec<String>>,
    /// The operations listener of each process.
    pub operations: BTreeMap<String, String>,
    pub pids: BTreeMap<String, u32>,
    /// URLs of the echo application's replicas.
    pub echo: Vec<String>,
    pub admin: Administrator,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Administrator {
    pub username: String,
    pub password_file: PathBuf,
}

impl StackFile {
    /// `None`: no stack runs here.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        serde_json::from_slice(&text).map(Some).with_context(|| format!("{} is damaged", path.display()))
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("the stack cannot be written as JSON")?;
        private_file::write_public(path, &text)
    }

    pub fn remove(path: &Path) -> Result<()> {
        private_file::remove(path)
    }
}
