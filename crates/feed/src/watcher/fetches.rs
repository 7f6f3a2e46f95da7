//! What is fetched and cached under a lease. A fetch under way when its key changes is neither cached nor used, and nobody
//! joins it any more: nothing that ended is revived (rule W7).

use std::collections::{BTreeMap, HashMap};

use crate::{
    broken::{Broken, Variant},
    change::{Position, Target, What},
};

/// Beyond so many another one makes room for what is fetched.
const MAX_CACHED: usize = 100_000;

/// One fetch, and everybody who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlightId(pub u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch<V> {
    Cached(V),
    /// Fetch it from a replica that has applied `at_least`, then say [`super::Watcher::fetched`].
    Begin {
        flight: FlightId,
        at_least: Position,
    },
    /// Somebody fetches it already, and nothing has happened to it since.
    Join {
        flight: FlightId,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// Whoever waits for the flight may use what it brought.
    Use,
    /// It changed while it was fetched: nobody may use it. Fetch again, or say that it is unavailable.
    Discard,
}

#[derive(Debug)]
pub(super) struct Fetches<V> {
    cached: HashMap<Target, V>,
    flights: BTreeMap<FlightId, Flight>,
    /// The flights that may be joined.
    joinable: HashMap<Target, FlightId>,
    last: u64,
}

#[derive(Debug)]
struct Flight {
    target: Target,
    dirty: bool,
}

impl<V> Default for Fetches<V> {
    fn default() -> Self {
        Self { cached: HashMap::new(), flights: BTreeMap::new(), joinable: HashMap::new(), last: 0 }
    }
}

impl<V: Clone> Fetches<V> {
    pub(super) fn fetch(&mut self, target: &Target, at_least: Position, variant: Variant) -> Fetch<V> {
        if let Some(value) = self.cached.get(target) {
            return Fetch::Cached(value.clone());
        }
        if let Some(flight) = self.joinable.get(target) {
            return Fetch::Join { flight: *flight };
        }
        self.last += 1;
        let flight = FlightId(self.last);
        self.flights.insert(flight, Flight { target: target.clone(), dirty: false });
        self.joinable.insert(target.clone(), flight);
        Fetch::Begin {
            flight,
            at_least: if variant.is(Broken::FillNoPosition) { Position::START } else { at_least },
        }
    }

    pub(super) fn fetched(&mut self, id: FlightId, value: Option<V>, variant: Variant) -> Fetched {
        let Some(flight) = self.flights.remove(&id) else { return Fetched::Discard };
        if self.joinable.get(&flight.target) == Some(&id) {
            self.joinable.remove(&flight.target);
        }
        let dirty = flight.dirty && !variant.is(Broken::FillNoPosition);
        if !dirty && let Some(value) = value {
            self.make_room();
            self.cached.insert(flight.target, value);
        }
        if dirty && !variant.is(Broken::JoinFlightBlind) { Fetched::Discard } else { Fetched::Use }
    }

    /// Any one goes: who is asked about again is back soon.
    fn make_room(&mut self) {
        if self.cached.len() >= MAX_CACHED
            && let Some(one) = self.cached.keys().next().cloned()
        {
            self.cached.remove(&one);
        }
    }

    /// `target` has changed.
    pub(super) fn drop_target(&mut self, target: &Target, variant: Variant) {
        if target.what == What::All && !variant.is(Broken::AllDropsOne) {
            return self.drop_all();
        }
        self.cached.remove(target);
        if let Some(flight) = self.joinable.get(target).copied() {
            if let Some(flight) = self.flights.get_mut(&flight) {
                flight.dirty = true;
            }
            let joined_blindly = variant.is(Broken::JoinFlightBlind) || variant.is(Broken::FillNoPosition);
            if !joined_blindly {
                self.joinable.remove(target);
            }
        }
    }

    pub(super) fn drop_all(&mut self) {
        self.cached.clear();
        self.joinable.clear();
        self.flights.values_mut().for_each(|flight| flight.dirty = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_last_is_kept_too() {
        let mut fetches = Fetches::default();
        let principal = |number: usize| Target::new(What::Principal, number.to_string());
        for number in 0..=MAX_CACHED {
            let asked = fetches.fetch(&principal(number), Position::START, Variant::default());
            let Fetch::Begin { flight, .. } = asked else { panic!("{asked:?}") };
            assert_eq!(fetches.fetched(flight, Some(number), Variant::default()), Fetched::Use);
        }
        assert_eq!(fetches.cached.len(), MAX_CACHED);
        let last = fetches.fetch(&principal(MAX_CACHED), Position::START, Variant::default());
        assert_eq!(last, Fetch::Cached(MAX_CACHED));
    }
}
