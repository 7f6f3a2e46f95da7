//! Single flight: a token that is being verified is not verified a second time beside it. A page that opens twenty
//! requests with a fresh token costs one verification.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use crate::digest::{ByHead, Digest};

pub(crate) struct Flights<V> {
    under_way: Mutex<HashMap<Digest, Flight<V>, ByHead>>,
}

struct Flight<V> {
    outcome: Arc<OnceCell<V>>,
    aboard: usize,
}

/// One caller's place. A caller that goes away leaves the work to the others; the last one out clears up.
struct Seat<'a, V> {
    flights: &'a Flights<V>,
    digest: Digest,
    outcome: Arc<OnceCell<V>>,
}

impl<V: Clone> Flights<V> {
    pub(crate) fn new() -> Self {
        Self { under_way: Mutex::new(HashMap::with_hasher(ByHead::default())) }
    }

    /// What `work` comes to, or what the same work that is already under way comes to.
    pub(crate) async fn join<W: Future<Output = V>>(&self, digest: Digest, work: impl FnOnce() -> W) -> V {
        let seat = self.board(digest);
        seat.outcome.get_or_init(work).await.clone()
    }

    #[cfg(test)]
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn board(&self, digest: Digest) -> Seat<'_, V> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let flight = under_way
            .entry(digest)
            .or_insert_with(|| Flight { outcome: Arc::new(OnceCell::new()), aboard: 0 });
        flight.aboard += 1;
        Seat { flights: self, digest, outcome: Arc::clone(&flight.outcome) }
    }
}

impl<V> Drop for Seat<'_, V> {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = under_way.get_mut(&self.digest) {
            flight.aboard -= 1;
            if flight.aboard == 0 {
                under_way.remove(&self.digest);
            }
        }
    }
}
