//! Keeps applications going: tables put in force, names followed, endpoints probed.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use chassis::lifecycle::Lifecycle;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{Backend, Names, Table, metrics, probe};
use crate::routing::{Addresses, Health, Routes, UpstreamRule};

/// A new table waits so long for the addresses behind its names, and goes into force without those that are late.
const FIRST_ADDRESSES: Duration = Duration::from_secs(2);
const LOOK_UP: Duration = Duration::from_secs(4);
/// While there is no address at all.
const AGAIN: Duration = Duration::from_secs(1);

/// The applications in force, and everything that happens to them by itself.
#[derive(Clone)]
pub struct Fleet {
    lifecycle: Lifecycle,
    names: Names,
    tables: watch::Sender<Arc<Table>>,
}

impl Fleet {
    /// Puts the first table in force.
    pub async fn open(routes: Routes, names: Names, lifecycle: &Lifecycle) -> Fleet {
        let (table, new) = Table::of(routes, None);
        first_addresses(&new, &names).await;
        let fleet =
            Fleet { lifecycle: lifecycle.clone(), names, tables: watch::Sender::new(Arc::new(table)) };
        fleet.look_after(new);
        metrics::show(&lifecycle.metrics().meter(), fleet.tables());
        fleet
    }

    /// The table in force. It is marked as changed also when only endpoints have.
    pub fn tables(&self) -> watch::Receiver<Arc<Table>> {
        self.tables.subscribe()
    }

    /// Puts another table in force. What is the same application as before goes on as it is.
    pub async fn put_in_force(&self, routes: Routes) {
        let before = Arc::clone(&self.tables.borrow());
        let (table, new) = Table::of(routes, Some(&before));
        first_addresses(&new, &self.names).await;
        self.tables.send_replace(Arc::new(table));
        self.look_after(new);
    }

    fn look_after(&self, new: Vec<Arc<Backend>>) {
        for backend in new {
            let draining = self.lifecycle.draining();
            if let Addresses::Dns(name) = &backend.rule.addresses {
                let following = follow(Arc::downgrade(&backend), name.clone(), self.clone());
                let draining = draining.clone();
                self.lifecycle.spawn_work("upstream name", async move {
                    draining.run_until_cancelled(following).await;
                });
            }
            if let Some(health) = backend.rule.health.clone() {
                let probing = watch_over(Arc::downgrade(&backend), health);
                self.lifecycle.spawn_work("upstream health", async move {
                    draining.run_until_cancelled(probing).await;
                });
            }
        }
    }
}

impl Table {
    /// The table of `routes`, with the applications of `before` that are still the same, and those that are new.
    fn of(routes: Routes, before: Option<&Table>) -> (Table, Vec<Arc<Backend>>) {
        let mut new = Vec::new();
        let backends = routes
            .upstreams()
            .iter()
            .map(|rule| {
                let known =
                    before.and_then(|table| table.backends.iter().find(|backend| backend.rule == *rule));
                if let Some(backend) = known {
                    return Arc::clone(backend);
                }
                let backend = Arc::new(Backend::new(rule));
                // What is known of a name stays known, whatever else its block says now.
                if let Some(former) = before.and_then(|table| table.of_name(rule)) {
                    backend.found(former.addresses());
                }
                new.push(Arc::clone(&backend));
                backend
            })
            .collect();
        (Table { routes, backends }, new)
    }

    /// An application behind the same DNS name.
    fn of_name(&self, rule: &UpstreamRule) -> Option<&Arc<Backend>> {
        let is_a_name = matches!(rule.addresses, Addresses::Dns(_));
        self.backends.iter().find(|backend| is_a_name && backend.rule.addresses == rule.addresses)
    }
}

async fn first_addresses(new: &[Arc<Backend>], names: &Names) {
    let each = new.iter().map(async |backend| {
        if let Addresses::Dns(name) = &backend.rule.addresses
            // What goes wrong is told by whoever follows the name.
            && let Ok(Ok(found)) = timeout(FIRST_ADDRESSES, look_up(name, names)).await
        {
            backend.found(found);
        }
    });
    join_all(each).await;
}

async fn look_up(name: &str, names: &Names) -> io::Result<Vec<String>> {
    let found =
        timeout(LOOK_UP, names.resolver.resolve(name)).await.unwrap_or_else(|late| Err(late.into()))?;
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no address"));
    }
    Ok(found.iter().map(ToString::to_string).collect())
}

/// Until the application is in no table any more.
async fn follow(backend: Weak<Backend>, name: String, fleet: Fleet) {
    let mut lost = false;
    loop {
        let Some(known) = backend.upgrade().map(|backend| !backend.endpoints().is_empty()) else { return };
        sleep(if known { fleet.names.every } else { fleet.names.every.min(AGAIN) }).await;
        let found = look_up(&name, &fleet.names).await;
        let Some(backend) = backend.upgrade() else { return };
        let upstream = &backend.rule.name;
        match found {
            Ok(found) => {
                if std::mem::take(&mut lost) {
                    tracing::info!(upstream, name, "the name is known again");
                }
                if backend.found(found) {
                    tracing::info!(upstream, name, endpoints = backend.endpoints().len(), "other addresses");
                    fleet.tables.send_modify(|_| ());
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut lost, true) {
                    tracing::warn!(upstream, name, %error, "the name cannot be resolved: its addresses stay");
                }
            }
        }
    }
}

/// Until the application is in no table any more.
async fn watch_over(backend: Weak<Backend>, health: Health) {
    let mut rounds = interval(health.interval);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let Some(backend) = backend.upgrade() else { return };
        probe::round(&backend, &health).await;
    }
}
