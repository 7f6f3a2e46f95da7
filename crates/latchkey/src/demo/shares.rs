//! How the calls of a service were shared among its replicas.

use std::collections::BTreeMap;

use serde::Serialize;

/// Below so many calls a replica, its share is chance.
const ENOUGH_CALLS: u64 = 50;
/// Of a fair share, what each replica must at least have answered.
const LEAST_SHARE: f64 = 0.7;

#[derive(Debug, Clone, Serialize)]
pub struct Shares {
    pub calls: BTreeMap<String, u64>,
    /// Whether there were enough calls for shares to mean anything.
    pub judged: bool,
}

impl Shares {
    pub fn new(calls: BTreeMap<String, u64>) -> Self {
        let judged = calls.values().sum::<u64>() >= ENOUGH_CALLS * calls.len() as u64;
        Self { calls, judged }
    }

    pub fn total(&self) -> u64 {
        self.calls.values().sum()
    }

    /// Who had less than it should: replica, its share, the least share. Nobody, when there were too few calls.
    pub fn behind(&self) -> impl Iterator<Item = (&str, f64, f64)> {
        let total = self.total() as f64;
        let least = LEAST_SHARE / self.calls.len() as f64;
        let shares = self.calls.iter().filter(|_| self.judged);
        let shares = shares.map(move |(replica, calls)| (replica.as_str(), *calls as f64 / total, least));
        shares.filter(|(_, share, least)| share < least)
    }

    /// Each replica's part, in their order.
    pub fn said(&self) -> String {
        let total = self.total();
        if total == 0 {
            return "no calls".to_owned();
        }
        let parts = self.calls.values().map(|calls| format!("{:.2}", *calls as f64 / total as f64));
        let parts = parts.collect::<Vec<_>>().join(" ");
        if self.judged { parts } else { format!("{parts} (of {total} calls, too few to judge)") }
    }

    pub fn are_even(&self) -> bool {
        self.judged && self.behind().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(calls: &[u64]) -> String {
        let named = calls.iter().enumerate().map(|(at, calls)| (format!("auth-{at}"), *calls));
        Shares::new(named.collect()).said()
    }

    #[test]
    fn every_share_is_said_and_which_are_of_too_few_calls() {
        assert_eq!(shares(&[60, 40]), "0.60 0.40");
        assert_eq!(shares(&[3, 1]), "0.75 0.25 (of 4 calls, too few to judge)");
        assert_eq!(shares(&[0, 0]), "no calls");
    }
}
