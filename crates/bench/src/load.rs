//! Load from wrk: one thread, 64 connections kept alive. A run in which anything but 2xx was answered is not a result.

use std::process::Command;

use anyhow::{Context, bail};

/// What wrk saw in one run.
pub struct Run {
    pub requests: u64,
    pub requests_per_second: f64,
}

/// Loads `url` from one core for so many seconds.
pub fn wrk(core: usize, seconds: u32, url: &str, headers: &[String]) -> anyhow::Result<Run> {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), "wrk", "-t1", "-c64", &format!("-d{seconds}s")]);
    for header in headers {
        command.args(["-H", header]);
    }
    let output = command.arg(url).output().context("wrk")?;
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        bail!("wrk: {}", String::from_utf8_lossy(&output.stderr));
    }
    for bad in ["Non-2xx", "Socket errors"] {
        if let Some(line) = text.lines().find(|line| line.contains(bad)) {
            bail!("{url}: {}", line.trim());
        }
    }
    parse(&text).with_context(|| format!("wrk's output was not understood:\n{text}"))
}

fn parse(text: &str) -> Option<Run> {
    let requests =
        text.lines().find(|line| line.contains(" requests in "))?.split_whitespace().next()?.parse().ok()?;
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"))?.trim().parse().ok()?;
    Some(Run { requests, requests_per_second: rate })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_run_is_read() {
        let text = "Running 3s test @ http://127.0.0.1:1/\n  226413 requests in 3.10s, 35.84MB read\nRequests/sec:  73021.28\n";
        let run = parse(text).unwrap();
        assert_eq!(run.requests, 226_413);
        assert!((run.requests_per_second - 73_021.28).abs() < 0.001);
    }

    #[test]
    fn other_text_is_no_run() {
        assert!(parse("unable to connect").is_none());
    }
}
