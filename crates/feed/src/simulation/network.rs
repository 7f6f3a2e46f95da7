//! The network: delays with a long tail, cuts of one direction or both, and streams that keep their order.

use std::collections::HashMap;

use fastrand::Rng;

use super::machine::Instant;

pub(super) const MILLI: Instant = 1_000_000;

pub(super) fn millis(length: f64) -> Instant {
    (length * MILLI as f64) as Instant
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    World,
    Log,
    Replica(usize),
    Guard(usize),
}

/// One direction of one watch stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    ToReplica(u64),
    ToGuard(u64),
}

#[derive(Debug)]
pub(super) struct Network {
    calm: bool,
    /// Everything takes so many times as long.
    pub(super) slowness: f64,
    cuts: HashMap<(Place, Place), Instant>,
    last_on: HashMap<Lane, Instant>,
}

impl Network {
    pub(super) fn new(calm: bool) -> Self {
        Self { calm, slowness: 1.0, cuts: HashMap::new(), last_on: HashMap::new() }
    }

    pub(super) fn cut(&mut self, from: Place, to: Place, until: Instant) {
        let known = self.cuts.entry((from, to)).or_default();
        *known = (*known).max(until);
    }

    /// When what is sent now arrives: none if it is lost.
    pub(super) fn arrival(
        &mut self,
        from: Place,
        to: Place,
        lane: Option<Lane>,
        now: Instant,
        random: &mut Rng,
    ) -> Option<Instant> {
        let mut arrival = now + self.delay(random);
        let cut_until = self.cuts.get(&(from, to)).copied().unwrap_or(0);
        if cut_until > now {
            if lane.is_none() && random.bool() {
                return None;
            }
            // Sent again and again until the cut heals.
            arrival += cut_until - now;
        }
        if let Some(lane) = lane {
            let last = self.last_on.entry(lane).or_default();
            arrival = arrival.max(*last + 1);
            *last = arrival;
        }
        Some(arrival)
    }

    fn delay(&self, random: &mut Rng) -> Instant {
        let between = |random: &mut Rng, low: f64, high: f64| low + random.f64() * (high - low);
        if self.calm {
            return millis(between(random, 0.2, 1.5));
        }
        let length = match random.f64() {
            kind if kind < 0.93 => between(random, 0.2, 3.0),
            kind if kind < 0.99 => between(random, 3.0, 200.0),
            _ => between(random, 200.0, 2600.0),
        };
        millis(length * self.slowness)
    }
}
