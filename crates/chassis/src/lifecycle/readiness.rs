//! Whether a process can serve something.
//!
//! A process becomes ready when every condition that was registered holds. Once it was ready, losing a condition
//! does not unready it: it goes on and answers "unavailable" for what needs what was lost, because taking every
//! replica out of the balancer helps nobody. What is lost is still said, by `/readyz?verbose` and by a gauge. Only two
//! things unready: stopping, and an [assumption](Lifecycle::assumption) that turns out wrong, because then going on gives
//! wrong answers.

use std::sync::{Arc, PoisonError};

use tokio::sync::watch;

use super::Lifecycle;

#[derive(Default)]
pub(super) struct Conditions {
    all: Vec<Condition>,
    was_ready: bool,
}

/// One condition, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub name: Arc<str>,
    /// Whether becoming ready waits for it. Neighbours are watched without that.
    pub required: bool,
    /// Whether a process that was ready is not when this fails.
    pub assumed: bool,
    /// Why it does not hold, if it does not.
    pub state: Result<(), String>,
}

/// The handle by which a condition is reported. Clones and further handles of the same name are the same condition.
#[derive(Clone)]
pub struct Readiness {
    lifecycle: Lifecycle,
    name: Arc<str>,
}

impl Readiness {
    /// The condition holds.
    pub fn ready(&self) {
        self.lifecycle.report(&self.name, Ok(()));
    }

    /// The condition does not hold. `reason` is shown to operators: nothing secret.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.lifecycle.report(&self.name, Err(reason.into()));
    }

    /// Whether the process has become ready, whatever was lost since.
    #[cfg(feature = "sql")]
    pub(crate) fn has_been_ready(&self) -> bool {
        self.lifecycle.inner.conditions.lock().unwrap_or_else(PoisonError::into_inner).was_ready
    }

    #[cfg(feature = "sql")]
    pub(crate) fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }
}

impl Lifecycle {
    /// Registers a condition of becoming ready, which does not hold at first. Register all of them before the first
    /// is reported, or the process is ready too early.
    pub fn readiness(&self, name: impl Into<Arc<str>>) -> Readiness {
        self.register(name.into(), true, false, Err("starting"))
    }

    /// Registers a neighbour whose state is shown, and on which being ready does not depend.
    pub fn dependency(&self, name: impl Into<Arc<str>>) -> Readiness {
        self.register(name.into(), false, false, Err("not asked yet"))
    }

    /// Registers what is taken for granted until it is seen to be otherwise, such as how a neighbour was set up. The
    /// process is not ready while it does not hold, also if it was.
    pub fn assumption(&self, name: impl Into<Arc<str>>) -> Readiness {
        self.register(name.into(), true, true, Ok(()))
    }

    /// Whether the process can serve something. Without any required condition it never says so.
    pub fn is_ready(&self) -> bool {
        *self.inner.ready.borrow()
    }

    /// Follows [`Lifecycle::is_ready`].
    pub fn readiness_changes(&self) -> watch::Receiver<bool> {
        self.inner.ready.subscribe()
    }

    /// Every condition, in the order of registration.
    pub fn conditions(&self) -> Vec<Condition> {
        self.inner.conditions.lock().unwrap_or_else(PoisonError::into_inner).all.clone()
    }

    fn register(&self, name: Arc<str>, required: bool, assumed: bool, state: Result<(), &str>) -> Readiness {
        let mut conditions = self.inner.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        match conditions.all.iter_mut().find(|condition| condition.name == name) {
            Some(known) => known.required |= required,
            None => {
                let state = state.map_err(str::to_owned);
                conditions.all.push(Condition { name: name.clone(), required, assumed, state });
            }
        }
        Readiness { lifecycle: self.clone(), name }
    }

    fn report(&self, name: &str, state: Result<(), String>) {
        let mut conditions = self.inner.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(condition) = conditions.all.iter_mut().find(|condition| *condition.name == *name) else {
            return;
        };
        if condition.state == state {
            return;
        }
        match &state {
            Ok(()) => tracing::info!(condition = name, "ready"),
            Err(reason) if condition.state.is_ok() => tracing::warn!(condition = name, reason, "lost"),
            Err(reason) => tracing::info!(condition = name, reason, "not ready"),
        }
        condition.state = state;
        let mut required = conditions.all.iter().filter(|condition| condition.required).peekable();
        let all_hold = required.peek().is_some() && required.all(|condition| condition.state.is_ok());
        conditions.was_ready |= all_hold;
        let mut assumed = conditions.all.iter().filter(|condition| condition.assumed);
        let can_serve = conditions.was_ready && assumed.all(|one| one.state.is_ok());
        // Under the same lock, so that a later report cannot be overtaken; and never ready once stopping.
        let is_ready = can_serve && !self.is_stopping();
        self.inner.ready.send_if_modified(|ready| std::mem::replace(ready, is_ready) != is_ready);
        if self.is_stopping() {
            self.inner.ready.send_if_modified(std::mem::take);
        }
    }
}
