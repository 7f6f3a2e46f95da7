//! SIGHUP: the terminal was closed, or an operator wants something reloaded. It stops a process like SIGTERM where
//! nothing is reloaded by it ([`crate::lifecycle::Lifecycle::reloads`]), unless `nohup` had it ignored: then it never
//! comes, because listening to a signal would undo that.

use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signal, where it is to be heard.
#[derive(Debug)]
pub struct Hangup(Option<Signal>);

impl Hangup {
    /// Listens from now on.
    pub fn listen() -> io::Result<Hangup> {
        if is_ignored() {
            return Ok(Hangup(None));
        }
        signal(SignalKind::hangup()).map(|signal| Hangup(Some(signal)))
    }

    /// Resolves at the next one.
    pub async fn recv(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => pending().await,
        }
    }
}

/// Whether whoever started this process had it ignored. Where the kernel does not say (not Linux), it was not.
fn is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The lowest bit is signal 1, which is this one.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
