//! One thread's view of the table in force: its routes, and this thread's own connections to each application.
//!
//! A plan is never changed, only replaced; a request holds the one that it began with for as long as it needs it.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::pool::Upstream;
use crate::routing::{Route, Routes};
use crate::upstreams::Table;

pub(super) struct Plan {
    table: Arc<Table>,
    /// In the order of the table's.
    upstreams: Vec<Upstream>,
}

impl Plan {
    /// The plan of `table`. What `before` had open to the same applications goes on.
    pub(super) fn new(
        table: Arc<Table>,
        before: Option<&Plan>,
        seed: u64,
        drivers: &TaskTracker,
    ) -> Arc<Self> {
        let known = |backend| before?.upstreams.iter().find(|upstream| upstream.is_of(backend));
        let upstreams =
            table.backends.iter().map(|backend| Upstream::new(backend, known(backend), seed, drivers));
        Arc::new(Self { upstreams: upstreams.collect(), table })
    }

    pub(super) fn routes(&self) -> &Routes {
        &self.table.routes
    }

    /// None cannot be: the route is of this plan's table.
    pub(super) fn upstream(&self, route: &Route) -> Option<&Upstream> {
        self.upstreams.get(route.upstream)
    }

    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.upstreams.iter().for_each(|upstream| upstream.sweep(now));
    }
}
