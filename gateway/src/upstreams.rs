//! The applications of a route file, for the whole process: what its threads must agree on about each.
//!
//! A [`Table`] is a route file in force. It is replaced as a whole. An application whose rule did not change is the
//! same [`Backend`] in the next table, and so whatever stands on it (its threads' connections) stays.

use std::sync::Arc;

use crate::routing::{Routes, UpstreamRule};

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
}

impl Table {
    /// The table of `routes`, with the applications of `before` that are still the same.
    pub fn new(routes: Routes, before: Option<&Table>) -> Table {
        let known = |rule: &UpstreamRule| before?.backends.iter().find(|backend| backend.rule == *rule);
        let backends = routes.upstreams().iter().map(|rule| match known(rule) {
            Some(backend) => Arc::clone(backend),
            None => Arc::new(Backend { rule: rule.clone() }),
        });
        Table { backends: backends.collect(), routes }
    }
}
