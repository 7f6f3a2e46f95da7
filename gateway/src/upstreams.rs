//! The applications of a route file, for the whole process: what its threads must agree on about each.
//!
//! A [`Table`] is a route file in force. It is replaced as a whole. An application whose rule did not change is the
//! same [`Backend`] in the next table, and so whatever stands on it (its threads' connections) stays.

mod fleet;
mod limit;
mod metrics;
mod names;
mod probe;
mod vitals;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

pub use fleet::Fleet;
pub use limit::{Limit, Place};
pub use names::{Names, Resolve};
pub use vitals::{Failed, Vitals};

use crate::routing::{Addresses, Routes, UpstreamRule};

/// A route file in force, and its applications.
pub struct Table {
    pub routes: Routes,
    /// In the order of [`Routes::upstreams`].
    pub backends: Vec<Arc<Backend>>,
}

/// One application.
#[derive(Debug)]
pub struct Backend {
    pub rule: UpstreamRule,
    pub limit: Limit,
    endpoints: Mutex<Arc<[Arc<Vitals>]>>,
}

impl Backend {
    pub(crate) fn new(rule: &UpstreamRule) -> Self {
        let listed: &[String] = match &rule.addresses {
            Addresses::Listed(addresses) => addresses,
            Addresses::Dns(_) => &[],
        };
        let endpoints = listed.iter().map(|address| Arc::new(Vitals::new(address.clone())));
        Self {
            limit: Limit::new(rule.concurrency, rule.queue),
            endpoints: Mutex::new(endpoints.collect()),
            rule: rule.clone(),
        }
    }

    /// Those that are known now. Whoever keeps the list is told by a new table when it has changed.
    pub fn endpoints(&self) -> Arc<[Arc<Vitals>]> {
        Arc::clone(&self.endpoints.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn addresses(&self) -> Vec<String> {
        self.endpoints().iter().map(|endpoint| endpoint.address.clone()).collect()
    }

    /// A request to `endpoint` failed.
    pub fn failed(&self, endpoint: &Vitals, how: Failed) {
        let dispensable =
            || self.endpoints().iter().any(|other| !std::ptr::eq(&**other, endpoint) && other.is_well());
        if let Some(time) = endpoint.failed(how, Instant::now(), dispensable) {
            tracing::warn!(upstream = self.rule.name, endpoint = endpoint.address, ?how, ?time, "left out");
        }
    }

    /// Takes back those whose time is over.
    pub fn recover(&self, now: Instant) {
        for endpoint in self.endpoints().iter().filter(|endpoint| endpoint.returned(now)) {
            tracing::info!(upstream = self.rule.name, endpoint = endpoint.address, "used again");
        }
    }

    /// The addresses behind its name. True if they are others than before.
    fn found(&self, mut addresses: Vec<String>) -> bool {
        addresses.sort_unstable();
        addresses.dedup();
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        // A name that has no address now has most likely one soon, and the former ones may still be good.
        if addresses.is_empty() || endpoints.iter().map(|known| &known.address).eq(&addresses) {
            return false;
        }
        let known =
            |address: &String| endpoints.iter().find(|known| known.address == *address).map(Arc::clone);
        *endpoints = addresses
            .into_iter()
            .map(|address| known(&address).unwrap_or_else(|| Arc::new(Vitals::new(address))))
            .collect();
        true
    }
}

#[cfg(test)]
mod tests;
