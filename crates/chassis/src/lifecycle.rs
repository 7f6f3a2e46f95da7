//! How a process lives: what it runs, whether it is ready, and how it stops.
//!
//! Stopping is always the same walk: not ready → settle → stop accepting → drain to the deadline → cancel. A signal,
//! [`Lifecycle::trigger`] and the death of a task that must run all begin it. Nothing is spawned outside, so that
//! there is nothing that draining does not wait for and a panic does not pass unseen. There are no globals: a test
//! runs several lives in one process.

mod exit;
mod readiness;
mod tasks;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use exit::{Ending, Exit};
pub use readiness::{Condition, Readiness};

use crate::config::Shutdown;
use crate::telemetry::Metrics;

/// How long cancelled tasks get to let go.
const LET_GO: Duration = Duration::from_secs(1);

/// The handle to this process's life. Clones are the same life.
#[derive(Clone)]
pub struct Lifecycle {
    inner: Arc<Inner>,
}

/// A handle that does not keep the life's state alive, for callbacks that the life itself owns.
#[derive(Clone)]
pub struct WeakLifecycle {
    inner: Weak<Inner>,
}

impl WeakLifecycle {
    /// The life, while anything else holds it.
    pub fn upgrade(&self) -> Option<Lifecycle> {
        self.inner.upgrade().map(|inner| Lifecycle { inner })
    }
}

struct Inner {
    shutdown: Shutdown,
    stopping: CancellationToken,
    draining: CancellationToken,
    ended: CancellationToken,
    /// What draining waits for.
    work: TaskTracker,
    /// What serves until the very end.
    support: TaskTracker,
    failure: Mutex<Option<Exit>>,
    conditions: Mutex<readiness::Conditions>,
    ready: watch::Sender<bool>,
    reload: watch::Sender<()>,
    metrics: Metrics,
}

impl Lifecycle {
    /// A life that has not begun to stop.
    pub fn new(shutdown: Shutdown) -> Lifecycle {
        Lifecycle {
            inner: Arc::new(Inner {
                shutdown,
                stopping: CancellationToken::new(),
                draining: CancellationToken::new(),
                ended: CancellationToken::new(),
                work: TaskTracker::new(),
                support: TaskTracker::new(),
                failure: Mutex::new(None),
                conditions: Mutex::new(readiness::Conditions::default()),
                ready: watch::Sender::new(false),
                reload: watch::Sender::new(()),
                metrics: Metrics::new(),
            }),
        }
    }

    /// A handle that does not keep the life's state alive: for metric callbacks, which the life owns.
    pub fn downgrade(&self) -> WeakLifecycle {
        WeakLifecycle { inner: Arc::downgrade(&self.inner) }
    }

    /// Cancelled as soon as it begins to stop, before the settle.
    pub fn stopping(&self) -> CancellationToken {
        self.inner.stopping.clone()
    }

    /// Cancelled when the process must accept nothing new and finish what it has.
    pub fn draining(&self) -> CancellationToken {
        self.inner.draining.clone()
    }

    /// Cancelled when everything must stop at once.
    pub fn ended(&self) -> CancellationToken {
        self.inner.ended.clone()
    }

    /// Begins to stop, as SIGTERM does. Doing it again changes nothing.
    pub fn trigger(&self) {
        self.inner.stopping.cancel();
        self.inner.ready.send_if_modified(std::mem::take);
    }

    /// Cuts everything off at once, without draining: a second Ctrl-C, or a test that plays a crash.
    pub fn end(&self) {
        self.trigger();
        self.inner.draining.cancel();
        self.inner.ended.cancel();
    }

    /// Resolves each time that the process is asked to read anew what it was configured with. From the first call on,
    /// SIGHUP means that and not to stop, as long as the receiver is there.
    pub fn reloads(&self) -> watch::Receiver<()> {
        self.inner.reload.subscribe()
    }

    /// Asks for that, as SIGHUP does. False: there is nobody who would.
    pub fn reload(&self) -> bool {
        self.inner.reload.send(()).is_ok()
    }

    /// Whether it has begun to stop.
    pub fn is_stopping(&self) -> bool {
        self.inner.stopping.is_cancelled()
    }

    /// This process's metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Waits until it is time to stop, drains, cancels, and says how it went.
    pub async fn run_until_stopped(&self) -> Exit {
        let inner = &*self.inner;
        inner.stopping.cancelled().await;
        self.trigger();
        let failed = || inner.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();

        if failed().is_none() && !inner.shutdown.settle.is_zero() {
            tracing::info!(settle = ?inner.shutdown.settle, "stopping: not ready any more");
            tokio::select! {
                () = tokio::time::sleep(inner.shutdown.settle) => {}
                () = inner.ended.cancelled() => {}
            }
        }
        tracing::info!(deadline = ?inner.shutdown.drain, "draining: accepting nothing new");
        inner.draining.cancel();
        inner.work.close();
        tokio::select! {
            () = inner.work.wait() => {}
            () = tokio::time::sleep(inner.shutdown.drain) => {}
            () = inner.ended.cancelled() => {}
        }

        let tasks = inner.work.len();
        inner.ended.cancel();
        inner.support.close();
        let all = async {
            inner.work.wait().await;
            inner.support.wait().await;
        };
        if tokio::time::timeout(LET_GO, all).await.is_err() {
            tracing::warn!(
                tasks = inner.work.len() + inner.support.len(),
                "tasks did not let go when cancelled"
            );
        }
        let exit = match failed() {
            Some(failure) => failure,
            None if tasks > 0 => Exit::CutOff { tasks },
            None => Exit::Clean,
        };
        match &exit {
            Exit::Clean => tracing::info!("stopped"),
            Exit::CutOff { tasks } => {
                tracing::warn!(tasks, "stopped: work was cut off at the drain deadline")
            }
            Exit::Failed { task, reason } => tracing::error!(task, reason, "stopped: a task failed"),
        }
        exit
    }

    /// The first failure counts: those that follow are mostly its consequences.
    fn fail(&self, task: &str, reason: &str) {
        tracing::error!(task, reason, "a task that must run has ended");
        self.inner
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| Exit::Failed { task: task.to_owned(), reason: reason.to_owned() });
        self.trigger();
    }
}

impl std::fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lifecycle")
            .field("stopping", &self.is_stopping())
            .field("tasks", &self.inner.work.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
