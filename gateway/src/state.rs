//! What a request handler stands on: read-only things shared by all threads, and its own thread's connections to
//! the services. The routes are not among them: they may change, and each thread has its own view of them.

use std::sync::Arc;

use chassis::clock::SharedClock;
use chassis::entropy::SharedEntropy;

use crate::config::Config;
use crate::cookies::Cookies;
use crate::layers::address::TrustedProxies;
use crate::layers::cross_site::Sites;
use crate::layers::identity::Identity;
use crate::peers::Peers;
use crate::roles::RoleChanges;

/// Local answers about tokens; what is remembered beside each is the identity headers, ready to send.
pub type Guard = guard::TokenGuard<Identity>;

/// The same for every thread.
pub struct Shared {
    pub config: Config,
    pub cookies: Cookies,
    pub sites: Sites,
    pub trusted: TrustedProxies,
    pub guard: Guard,
    pub roles: Arc<dyn RoleChanges>,
    pub clock: SharedClock,
    pub entropy: SharedEntropy,
}

/// One thread's view.
#[derive(Clone)]
pub struct State {
    pub shared: Arc<Shared>,
    /// This thread's own: a connection is driven by the runtime that made it.
    pub peers: Peers,
}
