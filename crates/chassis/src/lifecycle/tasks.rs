//! The one place where tasks and threads begin.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio_util::task::TaskTracker;

use super::{Ending, Lifecycle};

/// What a task's end means.
#[derive(Clone, Copy)]
enum Role {
    /// It may end when the process drains, not before.
    MustRun,
    /// It must run to the very end.
    Support,
    /// It may end at any time.
    Work,
}

impl Lifecycle {
    /// Runs a task that must run as long as the process does: its panic, failure or early end stops the process with
    /// a failure. It finishes soon after [`Lifecycle::draining`]; when everything must stop, it is dropped.
    pub fn spawn<F>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output: Ending> + Send + 'static,
    {
        self.run(&self.inner.work, Role::MustRun, name.into(), task);
    }

    /// As [`Lifecycle::spawn`], on an OS thread of its own, which has to watch [`Lifecycle::draining`] and
    /// [`Lifecycle::ended`] itself.
    pub fn spawn_thread<F, E>(&self, name: impl Into<String>, body: F) -> std::io::Result<()>
    where
        F: FnOnce() -> E + Send + 'static,
        E: Ending,
    {
        self.thread(&self.inner.work, Role::MustRun, name.into(), body)
    }

    /// As [`Lifecycle::spawn_support`], on an OS thread of its own, which has to watch [`Lifecycle::ended`] itself.
    pub fn spawn_support_thread<F, E>(&self, name: impl Into<String>, body: F) -> std::io::Result<()>
    where
        F: FnOnce() -> E + Send + 'static,
        E: Ending,
    {
        self.thread(&self.inner.support, Role::Support, name.into(), body)
    }

    fn thread<F, E>(&self, tracker: &TaskTracker, role: Role, name: String, body: F) -> std::io::Result<()>
    where
        F: FnOnce() -> E + Send + 'static,
        E: Ending,
    {
        let lifecycle = self.clone();
        let token = tracker.token();
        std::thread::Builder::new().name(name.clone()).spawn(move || {
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(body));
            lifecycle.judge(&name, role, outcome);
            drop(token);
        })?;
        Ok(())
    }

    /// Runs a task that may end by itself: a connection, a piece of background work. Draining waits for it. Its panic
    /// is logged and ends nothing else.
    pub fn spawn_work<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.run(&self.inner.work, Role::Work, name, task);
    }

    /// Runs a task that serves until the very end, drain included, and is then dropped. Ending earlier is a failure.
    pub fn spawn_support<F>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output: Ending> + Send + 'static,
    {
        self.run(&self.inner.support, Role::Support, name.into(), task);
    }

    /// Work on behalf of support tasks: draining does not wait for it.
    pub(crate) fn spawn_support_work<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.run(&self.inner.support, Role::Work, name, task);
    }

    fn run<F, N>(&self, tracker: &TaskTracker, role: Role, name: N, task: F)
    where
        F: Future<Output: Ending> + Send + 'static,
        N: AsRef<str> + Send + 'static,
    {
        let lifecycle = self.clone();
        tracker.spawn(async move {
            let outcome = tokio::select! {
                outcome = AssertUnwindSafe(task).catch_unwind() => outcome,
                () = lifecycle.inner.ended.cancelled() => return,
            };
            lifecycle.judge(name.as_ref(), role, outcome);
        });
    }

    /// What a panic carried is never looked at: it may quote what it stumbled over. The hook has logged where it was.
    fn judge<E: Ending>(&self, name: &str, role: Role, outcome: Result<E, Box<dyn Any + Send>>) {
        let may_end = match role {
            Role::MustRun => self.inner.draining.is_cancelled(),
            Role::Support => self.inner.ended.is_cancelled(),
            Role::Work => true,
        };
        match (outcome.map(Ending::failure), role) {
            (Err(_panic), Role::Work) => tracing::error!(task = name, "a piece of work panicked"),
            (Err(_panic), _) => self.fail(name, "panicked"),
            (Ok(Some(reason)), _) => self.fail(name, &reason),
            (Ok(None), _) if !may_end => self.fail(name, "ended although nothing asked it to"),
            (Ok(None), _) => {}
        }
    }
}
