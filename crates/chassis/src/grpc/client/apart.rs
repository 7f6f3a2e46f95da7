//! Replicas that keep their state in their own memory and so are not replicas: what one of them knows, the other denies.
//!
//! Such a process says with every health check which life of it this is (an *incarnation*, random at each start). Two at
//! once behind one name is a mistake in how the neighbour was set up, and half of its answers are wrong, so whoever sees
//! it is not ready. Only those count whose connection stands and who say that they serve: one that was restarted has
//! taken the place of the former, and one that leaves does not count while it does.

use std::sync::{Arc, Mutex, PoisonError};

use super::link::Link;
use crate::lifecycle::{Lifecycle, Readiness};

/// Watches that there is one memory at most.
pub(super) struct Apart {
    name: Arc<str>,
    lifecycle: Lifecycle,
    /// Made once somebody tells an incarnation. For all others there is nothing to watch.
    assumption: Mutex<Option<Assumption>>,
}

struct Assumption {
    shown: Readiness,
    /// As this channel sees it. Others of the process have the same thing to show: it is taken back only by who said it.
    holds: bool,
}

impl Apart {
    pub(super) fn new(neighbour: &str, lifecycle: &Lifecycle) -> Apart {
        let name = format!("one memory of {neighbour}").into();
        Apart { name, lifecycle: lifecycle.clone(), assumption: Mutex::new(None) }
    }

    /// Looks at those who serve at the moment.
    pub(super) fn judge(&self, serving: &[Arc<Link>]) {
        // One that says nothing has a store that is not its memory, which is another one too.
        let mut memories: Vec<Option<&str>> = serving.iter().map(|link| link.incarnation()).collect();
        let mut assumption = self.assumption.lock().unwrap_or_else(PoisonError::into_inner);
        if assumption.is_none() && memories.iter().all(Option::is_none) {
            return;
        }
        let assumption = assumption.get_or_insert_with(|| Assumption {
            shown: self.lifecycle.assumption(self.name.clone()),
            holds: true,
        });
        memories.sort_unstable();
        memories.dedup();
        match memories.len() {
            0 | 1 if assumption.holds => {}
            0 | 1 => {
                assumption.holds = true;
                assumption.shown.ready();
            }
            count => {
                assumption.holds = false;
                let told: Vec<&str> = memories.iter().map(|one| one.unwrap_or("a shared store")).collect();
                assumption.shown.not_ready(format!(
                    "{count} replicas that do not share what they know ({}): run one, or give all of them one store",
                    told.join(", ")
                ));
            }
        }
    }
}
