//! Keeps the processes of a stack: all started at once, one that dies started again, and at the end all stopped, the ones
//! that call before the ones that are called.

use std::cell::RefCell;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use chassis::process::say;
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustix::process::Signal;
use tokio::time::Instant;

use super::process::{Process, Running};
use crate::signals::Stop;

/// A process that is not ready by then will not be.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Nearly every start is over by then. Who waits longer wants to know for what.
const TELL_EVERY: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A process that ran this long has recovered: its next death is a first one.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);
/// Longer than a process itself waits for its open requests (`[shutdown]` of the files written by `up`).
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// The order in which a stack stops. Within a rank all stop at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    Gateway,
    Service,
    Application,
}

#[derive(Debug)]
struct Member {
    rank: Rank,
    process: Process,
    running: Running,
    /// Whether what runs now was ever ready.
    was_ready: bool,
}

/// The running processes. Dropping it kills them.
#[derive(Debug, Default)]
pub struct Members {
    program: PathBuf,
    members: Vec<Member>,
}

/// Where it is told that a process was replaced.
pub trait Restarts {
    /// The process called `name` died.
    fn died(&self, name: &str, how: &str, again_in: Duration);
    /// It runs again, and is ready, under another number.
    fn replaced(&self, name: &str, pid: u32);
}

impl Members {
    pub fn new(program: PathBuf) -> Self {
        Self { program, members: Vec::new() }
    }

    pub fn start(&mut self, rank: Rank, process: Process) -> Result<()> {
        let running = process.start(&self.program)?;
        self.members.push(Member { rank, process, running, was_ready: false });
        Ok(())
    }

    pub fn pids(&self) -> impl Iterator<Item = (String, u32)> + '_ {
        self.members.iter().map(|member| (member.process.name.clone(), member.running.pid()))
    }

    /// Resolves when every one is ready. While waiting runs `once_ready`, as soon as those named are.
    pub async fn ready<T>(
        &mut self,
        named: &[&str],
        once_ready: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let missing = RefCell::new(named.to_vec());
        let awaited = tokio::sync::Notify::new();
        if named.is_empty() {
            awaited.notify_one();
        }
        let mut waiting: FuturesUnordered<_> = self
            .members
            .iter_mut()
            .map(|Member { process, running, was_ready, .. }| {
                let (missing, awaited) = (&missing, &awaited);
                async move {
                    process.ready_within(running, READY_WITHIN, TELL_EVERY, say).await?;
                    *was_ready = true;
                    let mut missing = missing.borrow_mut();
                    missing.retain(|other| *other != process.name);
                    if missing.is_empty() {
                        awaited.notify_one();
                    }
                    Ok::<(), anyhow::Error>(())
                }
            })
            .collect();
        let all = async {
            while let Some(ready) = waiting.next().await {
                ready?;
            }
            Ok(())
        };
        let then = async {
            awaited.notified().await;
            once_ready.await
        };
        let ((), value) = tokio::try_join!(all, then)?;
        Ok(value)
    }

    /// Starts again what dies, until dropped.
    pub async fn keep(&mut self, restarts: &impl Restarts) {
        let program = &self.program;
        let kept = self.members.iter_mut().map(|Member { process, running, was_ready, .. }| async move {
            let mut pause = FIRST_PAUSE;
            let mut since = Instant::now();
            loop {
                let how = match running.ended().await {
                    Ok(status) => status.to_string(),
                    Err(error) => error.to_string(),
                };
                if since.elapsed() >= RECOVERED_AFTER {
                    pause = FIRST_PAUSE;
                }
                restarts.died(&process.name, &how, pause);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                since = Instant::now();
                let Ok(started) = process.start(program) else { continue };
                (*running, *was_ready) = (started, false);
                if process.ready(running).await.is_ok() {
                    *was_ready = true;
                    restarts.replaced(&process.name, running.pid());
                }
            }
        });
        join_all(kept).await;
    }

    /// Asks everything to stop, rank after rank, and waits; what does not stop in time, or at a second signal, is killed.
    /// Returns who did not end well, and how.
    pub async fn stop(mut self, stop: &mut Stop) -> Vec<(String, String)> {
        self.members.sort_by_key(|member| member.rank);
        let in_order = async {
            for rank in self.members.chunk_by_mut(|one, other| one.rank == other.rank) {
                for member in rank.iter() {
                    member.running.ask_to_stop();
                }
                let ended = join_all(rank.iter_mut().map(|member| member.running.ended()));
                let _ = tokio::time::timeout(STOPPED_WITHIN, ended).await;
                join_all(rank.iter_mut().map(|member| member.running.kill())).await;
            }
        };
        let hurried = tokio::select! {
            () = in_order => false,
            () = stop.told() => true,
        };
        if hurried {
            join_all(self.members.iter_mut().map(|member| member.running.kill())).await;
        }
        let mut not_well = Vec::new();
        for Member { process, running, was_ready, .. } in &mut self.members {
            match running.ended().await {
                Ok(status) if status.success() => {}
                // Until it is ready it may not heed the signal that asks, and end by it; and why one could not start is told
                // already. It is to blame only if it had to be killed.
                Ok(status) if !*was_ready && status.signal() != Some(Signal::KILL.as_raw()) => {}
                Ok(status) => not_well.push((process.name.clone(), status.to_string())),
                Err(error) => not_well.push((process.name.clone(), error.to_string())),
            }
        }
        not_well
    }
}
