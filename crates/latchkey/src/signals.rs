//! How this program learns that it is to stop: Ctrl-C, a service manager's SIGTERM, or the terminal that was closed.

use anyhow::{Context, Result};
use chassis::process::Hangup;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Every signal that asks for an end.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Hangup,
    told: bool,
}

impl Stop {
    pub fn listen() -> Result<Self> {
        let on = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: Hangup::listen().context("cannot listen for signals")?,
            told: false,
        })
    }

    /// Resolves at the next of them; can be awaited again. Only Ctrl-C and SIGTERM say it twice: a terminal that closes
    /// may do so itself and through the shell, and is in no hurry.
    pub async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = self.hangup.recv(), if !self.told => {}
        }
        self.told = true;
    }
}

/// Listens from now on; the future resolves at the first signal.
pub fn told_to_stop() -> Result<impl Future<Output = ()>> {
    let mut stop = Stop::listen()?;
    Ok(async move { stop.told().await })
}
