//! The way to each neighbour over gRPC: the only place in the gateway that names the adapters of `peers`.

use std::sync::Arc;
use std::time::Duration;

use chassis::grpc::client::{ChannelError, channel};
use chassis::lifecycle::Lifecycle;
use chassis::tls::Identity;

use super::Peers;
use super::auth::AuthService;
use super::policy::PolicyService;
use super::sessions::SessionService;

/// Where the neighbours are: `https://host:port` each.
#[derive(Clone, Copy, Debug)]
pub struct Endpoints<'a> {
    pub auth: &'a [String],
    pub session: &'a [String],
    pub policy: &'a [String],
}

/// `check_timeout` is what a request waits for a check. Connects at the first call, so a neighbour that is not there
/// yet stops nothing. Must run inside a runtime.
pub fn dial(
    endpoints: Endpoints<'_>,
    check_timeout: Duration,
    identity: &Identity,
    lifecycle: &Lifecycle,
) -> Result<Peers, ChannelError> {
    let to = |endpoints, name| channel(endpoints, identity, name, lifecycle);
    Ok(Peers {
        auth: Arc::new(AuthService::new(to(endpoints.auth, "auth")?, check_timeout)),
        sessions: Arc::new(SessionService::new(to(endpoints.session, "session")?, check_timeout)),
        policy: Arc::new(PolicyService::new(to(endpoints.policy, "policy")?, check_timeout)),
    })
}
