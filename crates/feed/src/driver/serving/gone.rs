//! Whose connection is closed: a lease that one did not give back may hold endings up until it is over.

use std::{collections::VecDeque, time::Duration};

use crate::{Moment, StreamId, WatcherId};

/// In the order in which they were closed.
#[derive(Default)]
pub(super) struct Gone(VecDeque<Watcher>);

struct Watcher {
    stream: StreamId,
    caller: String,
    id: Option<WatcherId>,
    at: Moment,
}

impl Gone {
    /// Who went for longer than `kept` ago is forgotten.
    pub(super) fn add(
        &mut self,
        stream: StreamId,
        caller: String,
        id: Option<WatcherId>,
        now: Moment,
        kept: Duration,
    ) {
        while self.0.front().is_some_and(|watcher| watcher.at + kept <= now) {
            self.0.pop_front();
        }
        self.0.push_back(Watcher { stream, caller, id, at: now });
    }

    /// Only once.
    pub(super) fn take(&mut self, stream: StreamId) -> Option<(String, Option<WatcherId>)> {
        let found = self.0.iter().position(|watcher| watcher.stream == stream)?;
        self.0.remove(found).map(|watcher| (watcher.caller, watcher.id))
    }
}
