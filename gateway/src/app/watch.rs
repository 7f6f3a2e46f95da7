//! What the gateway watches, and whom it asks about tokens.

use std::sync::Arc;

use chassis::clock::SharedClock;
use chassis::entropy::SharedEntropy;
use chassis::grpc::client::channel;
use chassis::lifecycle::Lifecycle;
use chassis::tls::Identity;
use guard::connect::{FeedEndings, Feeds};

use super::{Changes, NAME, StartError};
use crate::config::Config;
use crate::layers::identity::Roles;

/// Watches auth-service and policy-service until the process drains.
pub(super) fn changes(
    config: &Config,
    identity: &Identity,
    clock: &SharedClock,
    entropy: &SharedEntropy,
    lifecycle: &Lifecycle,
) -> Result<Changes, StartError> {
    let endpoints = &config.feeds.auth.endpoints;
    let mut feeds = Feeds::new(NAME, identity, clock, entropy, lifecycle);
    let auth = feeds.watch("auth", endpoints);
    let policy = feeds.watch::<Roles>("policy", &config.feeds.policy.endpoints);
    // Two ways: whoever asks because the one that is watched on is broken should not find the same one.
    let asking = channel(endpoints, identity, "auth", lifecycle)?;
    let endings = FeedEndings::new(auth, asking, Arc::clone(entropy), config.limits.check_timeout);
    feeds.start().map_err(StartError::Thread)?;
    Ok(Changes { endings: Arc::new(endings), roles: policy })
}
