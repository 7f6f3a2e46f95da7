//! `latchkey status`: what of the local stack runs, seen from its operations ports.

use std::process::ExitCode;

use anyhow::{Result, bail};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::Access;
use super::api::http;
use super::output::Output;
use super::target::not_running;
use crate::up::layout::Layout;
use crate::up::stack_file::StackFile;

/// Exits with 0 when every process is ready, with 1 otherwise.
pub async fn run(access: &Access, output: &Output) -> Result<ExitCode> {
    let layout = Layout::at(&access.state_dir)?;
    let Some(stack) = StackFile::read(&layout.stack_file())? else {
        bail!("no stack runs on {}", layout.root().display());
    };
    let http = http()?;
    let asked = stack.pids.iter().map(|(name, pid)| {
        let url = stack.operations.get(name);
        let (http, echo) = (&http, &stack.echo);
        async move {
            let state = match url {
                Some(url) => ready(http, &format!("{url}/readyz?verbose")).await,
                // The echo application has no such port: it answers, or it does not.
                None => {
                    let place = name.rsplit_once('-').and_then(|(_, replica)| replica.parse::<usize>().ok());
                    match place.and_then(|place| echo.get(place)) {
                        Some(url) => ready(http, url).await,
                        None => (false, String::new()),
                    }
                }
            };
            json!({ "process": name, "pid": pid, "ready": state.0, "operations": url, "says": state.1 })
        }
    });
    let rows: Vec<Value> = join_all(asked).await;
    let is_ready = |row: &Value| row.get("ready").and_then(Value::as_bool) == Some(true);
    if !rows.iter().any(is_ready) && !layout.runs() {
        return Err(not_running(&layout));
    }
    let columns = [
        ("process", "process"),
        ("pid", "pid"),
        ("ready", "ready"),
        ("operations", "operations"),
        ("says", "says"),
    ];
    output.table(&rows, &columns)?;
    Ok(if rows.iter().all(is_ready) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether it is ready, and what it says when it is not.
async fn ready(http: &reqwest::Client, url: &str) -> (bool, String) {
    match http.get(url).send().await {
        Ok(answer) if answer.status().is_success() => (true, String::new()),
        Ok(answer) => (false, answer.text().await.unwrap_or_default().lines().collect::<Vec<_>>().join("; ")),
        Err(_) => (false, "does not answer".to_owned()),
    }
}
