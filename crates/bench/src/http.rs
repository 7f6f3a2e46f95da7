//! The few requests that set a comparison up, through curl: a benchmark needs no HTTP client of its own.

use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

/// Sends a request and returns the answer's JSON; anything but 2xx is an error with the answer in it.
pub fn json(arguments: &[&str], url: &str) -> anyhow::Result<Value> {
    let output = Command::new("curl")
        .args(["-sS", "--fail-with-body"])
        .args(arguments)
        .arg(url)
        .output()
        .context("curl")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("{url}: {} {text}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_str(&text).with_context(|| format!("{url} answered no JSON: {text}"))
}

/// A member of an answer that must be a string.
pub fn string(value: &Value, pointer: &str) -> anyhow::Result<String> {
    Ok(value
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("no {pointer} in {value}"))?
        .to_owned())
}
