//! The password attempts that this process makes right now, by what they are counted under.
//!
//! A counted attempt is a failure until it turns out right. So while some are being made, one that finds no try left cannot
//! know whether there is none: it waits for theirs to end. That way somebody who logs in from twenty windows at once gets
//! in twenty times, and somebody who guesses twenty times at once still guesses only as often as one after another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::domain::throttle::ThrottleKey;

#[derive(Default)]
pub struct Tries(Mutex<HashMap<ThrottleKey, Arc<Key>>>);

/// What is going on under one key.
#[derive(Default)]
pub(super) struct Key {
    /// Held while an attempt is counted, so that one that is counted is seen as being made.
    pub turn: tokio::sync::Mutex<()>,
    /// Told whenever an attempt ends.
    pub ended: Notify,
    being_made: AtomicUsize,
}

impl Tries {
    pub(super) fn under(&self, key: &ThrottleKey) -> Under<'_> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Under { tries: self, name: key.clone(), key: Arc::clone(keys.entry(key.clone()).or_default()) }
    }
}

/// Somebody's interest in a key, which is forgotten with the last.
pub(super) struct Under<'a> {
    tries: &'a Tries,
    name: ThrottleKey,
    pub key: Arc<Key>,
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        let mut keys = self.tries.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's, and ours.
        if Arc::strong_count(&self.key) == 2 {
            keys.remove(&self.name);
        }
    }
}

impl Key {
    pub fn are_being_made(&self) -> bool {
        self.being_made.load(Ordering::Acquire) > 0
    }

    /// An attempt that was counted. Dropped when it has ended, and with it whatever it changed of the count.
    pub fn making(&self) -> Making<'_> {
        self.being_made.fetch_add(1, Ordering::AcqRel);
        Making(self)
    }
}

pub(super) struct Making<'a>(&'a Key);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.being_made.fetch_sub(1, Ordering::AcqRel);
        self.0.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_forgotten_with_the_last_who_cares() {
        let tries = Tries::default();
        let key = ThrottleKey::new("alice", "192.0.2.1");
        let (one, other) = (tries.under(&key), tries.under(&key));
        let making = one.key.making();
        assert!(other.key.are_being_made());
        drop(making);
        assert!(!other.key.are_being_made());
        drop(one);
        assert_eq!(tries.0.lock().unwrap().len(), 1);
        drop(other);
        assert!(tries.0.lock().unwrap().is_empty());
    }
}
