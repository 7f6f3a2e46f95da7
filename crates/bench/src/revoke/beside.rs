//! What nothing can be faster than, taken beside each ending.

use std::{fmt, time::Duration};

use chassis::grpc::client::Channel;

use crate::floor::{self, Commits, Flushes, Spread};

/// What an ending is measured by, taken beside each, so that a machine that has other things to do has them for both.
pub(super) struct Floor {
    pub(super) flushes: Flushes,
    pub(super) commits: Commits,
    pub(super) auth: Channel,
}

/// Of each kind.
#[derive(Default)]
pub(super) struct Beside<T> {
    pub(super) flush: T,
    pub(super) commit: T,
    pub(super) echo: T,
}

impl Floor {
    pub(super) async fn take(&mut self, beside: &mut Beside<Vec<Duration>>) -> anyhow::Result<()> {
        beside.flush.push(self.flushes.once()?);
        beside.commit.push(self.commits.once().await?);
        beside.echo.push(floor::echo(&self.auth).await?);
        Ok(())
    }
}

impl Beside<Vec<Duration>> {
    pub(super) fn spread(&self) -> Beside<Spread> {
        let Self { flush, commit, echo } = self;
        Beside { flush: Spread::of(flush), commit: Spread::of(commit), echo: Spread::of(echo) }
    }
}

impl fmt::Display for Beside<Vec<Duration>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Beside { flush, commit, echo } = self.spread();
        write!(f, "a flush {flush}, a commit {commit}, an echo {echo}")
    }
}
