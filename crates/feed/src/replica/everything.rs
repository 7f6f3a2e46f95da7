//! All that is remembered, for a watcher that starts from nothing. It may be millions of entries: they are written down message by
//! message, as the watcher's connection takes them, and out of one memory for everybody who is told at the same time. To write
//! them down at once would take longer than a beat may wait, and as much memory again for each watcher.

use std::sync::Arc;

use super::{Replica, streams::MAX_MESSAGE};
use crate::{
    change::{Entry, Position},
    endings::{Endings, Place},
    message::ToWatcher,
};

/// With more changes after it, what was remembered then is told to nobody else.
const MAX_SINCE: usize = 16_384;

/// `Reset`, everything that was remembered at one position, and `CaughtUp`.
#[derive(Clone, Debug)]
pub struct Everything {
    memory: Arc<Endings>,
    position: Position,
    next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    Reset,
    Live(Place),
    CaughtUp,
    Nothing,
}

impl Everything {
    pub(super) fn position(&self) -> Position {
        self.position
    }
}

impl Iterator for Everything {
    type Item = ToWatcher;

    fn next(&mut self) -> Option<ToWatcher> {
        if let Next::Live(place) = self.next {
            let (entries, rest) = self.memory.part(place, MAX_MESSAGE);
            self.next = rest.map_or(Next::CaughtUp, Next::Live);
            if rest.is_some() || !entries.is_empty() {
                return Some(ToWatcher::Live(entries.into()));
            }
        }
        match self.next {
            Next::Reset => {
                self.next = Next::Live(Place::default());
                Some(ToWatcher::Reset)
            }
            Next::CaughtUp => {
                self.next = Next::Nothing;
                Some(ToWatcher::CaughtUp(self.position))
            }
            Next::Live(_) | Next::Nothing => None,
        }
    }
}

impl PartialEq for Everything {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.memory, &other.memory) && (self.position, self.next) == (other.position, other.next)
    }
}

/// What was remembered at a position, and what changed after it.
#[derive(Debug)]
pub(super) struct Told {
    memory: Arc<Endings>,
    position: Position,
    since: Vec<Entry>,
}

impl Replica {
    /// Everything, and what is to be sent after it.
    pub(super) fn everything(&mut self) -> (Everything, Arc<[Entry]>) {
        let (memory, position) = (&self.memory, self.history.applied());
        let now = || Told { memory: Arc::clone(memory), position, since: Vec::new() };
        let told = self.told.get_or_insert_with(now);
        let everything =
            Everything { memory: Arc::clone(&told.memory), position: told.position, next: Next::Reset };
        (everything, told.since.as_slice().into())
    }

    /// The memory, to be changed: while somebody is being told it a copy, which that costs once.
    pub(super) fn memory_mut(&mut self) -> &mut Endings {
        let is_being_told = |told: &Told| {
            let own = if Arc::ptr_eq(&told.memory, &self.memory) { 2 } else { 1 };
            Arc::strong_count(&told.memory) > own
        };
        if !self.told.as_ref().is_some_and(is_being_told) {
            self.told = None;
        }
        Arc::make_mut(&mut self.memory)
    }

    /// These have been applied.
    pub(super) fn tell_after(&mut self, entries: &[Entry]) {
        match &mut self.told {
            Some(told) if told.since.len() + entries.len() <= MAX_SINCE => {
                told.since.extend_from_slice(entries);
            }
            _ => self.told = None,
        }
    }
}
