//! What will happen, in order. The order is of small keys: moving the events themselves about would be half of the work.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::machine::Instant;

#[derive(Debug)]
pub(super) struct Queue<T> {
    order: BinaryHeap<Reverse<Key>>,
    slots: Vec<Option<T>>,
    free: Vec<usize>,
    pushed: u64,
}

/// When, and what was pushed first goes first; then where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) at: Instant,
    pushed: u64,
    slot: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { order: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), pushed: 0 }
    }
}

impl<T> Queue<T> {
    pub(super) fn push(&mut self, at: Instant, event: T) {
        let slot = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(slot) {
            Some(free) => *free = Some(event),
            None => self.slots.push(Some(event)),
        }
        self.pushed += 1;
        self.order.push(Reverse(Key { at, pushed: self.pushed, slot }));
    }

    pub(super) fn next(&mut self) -> Option<Key> {
        self.order.pop().map(|Reverse(key)| key)
    }

    pub(super) fn peek(&self, key: Key) -> Option<&T> {
        self.slots.get(key.slot)?.as_ref()
    }

    pub(super) fn take(&mut self, key: Key) -> Option<T> {
        self.free.push(key.slot);
        self.slots.get_mut(key.slot)?.take()
    }

    /// Later, but in its place among what is later.
    pub(super) fn put_off(&mut self, key: Key, at: Instant) {
        self.order.push(Reverse(Key { at, ..key }));
    }
}
