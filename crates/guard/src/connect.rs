//! The way to auth-service (and, for checks, policy-service): keys over gRPC, its feed watched under leases on a thread of its
//! own, and questions where there is no lease. The gateway stands on the parts; another service on [`Guard::connect`].

mod config;
mod endings;
mod feeds;
mod keys;
mod permissions;
mod recipient;

use std::{fmt, sync::Arc, time::Duration};

use chassis::{
    clock::SystemClock,
    config::Shutdown,
    entropy::{SharedEntropy, SystemEntropy},
    grpc::client::{ChannelError, channel},
    lifecycle::Lifecycle,
    tls::{Identity, TlsError},
};
use feed::driver::watching::Watching;
use token::{Expect, ExpectError};

pub use self::{
    config::{Config, ConfigInvalid, Peer, Tls, TlsMode},
    endings::FeedEndings,
    feeds::Feeds,
    keys::IssuerKeys,
    permissions::Permissions,
    recipient::{RecipientKeyError, recipient_keys},
};
use crate::{Checks, Guard, Settings, TokenGuard};

/// Why a guard cannot be made. That auth-service is not there is no reason: it is connected to in the background.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Config(#[from] ConfigInvalid),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Expect(#[from] ExpectError),
    #[error("recipient_keys: {0}")]
    RecipientKey(#[from] RecipientKeyError),
    #[error("endpoints: {0}")]
    Endpoints(#[from] ChannelError),
    #[error("the thread that watches the feed cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// It is not known yet who holds which token.
#[derive(Debug, thiserror::Error)]
#[error("the guard is not ready: {}", .0.join("; "))]
pub struct NotReady(pub Vec<String>);

/// How a guard stands, for readiness and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Without, every token is answered with 503.
    pub has_keys: bool,
    /// For how long it may still answer by itself. `None`: auth-service is asked with every request.
    pub lease_left: Option<Duration>,
}

/// What a connected guard keeps alive. Once the last clone is gone, it stops as [`Guard::close`] does.
struct Connection {
    lifecycle: Lifecycle,
    watching: Arc<Watching<()>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.lifecycle.trigger();
    }
}

impl Guard {
    /// A guard that stands on a running system. Must be called inside a tokio runtime with I/O and time, on which it asks;
    /// it watches on a thread of its own. Returns at once: see [`Guard::ready`]. Stop it with [`Guard::close`].
    pub fn connect(config: &Config) -> Result<Self, ConnectError> {
        config.validate()?;
        let identity = Identity::load(&config.tls)?;
        let settings = settings(config)?;
        let (clock, entropy) = (SystemClock::shared(), SystemEntropy::shared());
        let lifecycle = Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: Duration::from_secs(2) });
        let to = |peer: &chassis::config::Peer, name| channel(&peer.endpoints, &identity, name, &lifecycle);

        let mut feeds = Feeds::new("guard", &identity, &clock, &entropy, &lifecycle);
        let watching = feeds.watch::<()>("auth", &config.feed.endpoints);
        // Another channel than the one that is watched on: who asks because that is broken must not find the same one.
        let asking = to(&config.feed, "auth")?;
        let endings = FeedEndings::new(Arc::clone(&watching), asking, Arc::clone(&entropy), config.patience);
        let keys = IssuerKeys::new(to(&config.auth, "auth")?, Arc::clone(&entropy), settings.fetch_timeout);
        let checks: Arc<dyn Checks> = match &config.policy {
            Some(policy) => Arc::new(Permissions::new(to(policy, "policy")?, entropy, config.patience)),
            None => Arc::new(permissions::NotConfigured),
        };
        feeds.start().map_err(ConnectError::Thread)?;

        let tokens = Arc::new(TokenGuard::new(settings, Arc::new(keys), Arc::new(endings), Self::prepare));
        let keeper = Arc::clone(&tokens);
        lifecycle.spawn_support("signing keys", async move { keeper.refresh_keys_loop().await });
        let life = lifecycle.clone();
        lifecycle.spawn_support("closing", async move {
            life.stopping().cancelled().await;
            // Drains, which gives the leases back, and then ends everything, this task too.
            life.run_until_stopped().await;
        });
        let connection = Connection { lifecycle, watching };
        Ok(Self::new(tokens, checks, Arc::new(move || clock.now()), connection))
    }

    /// Waits until it has keys and a lease, at most `within`; then says what is missing. Without it the first requests may be
    /// answered with 503.
    pub async fn ready(&self, within: Duration) -> Result<(), NotReady> {
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        let wait = async {
            while !self.status().is_some_and(|status| status.has_keys && status.lease_left.is_some()) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        match tokio::time::timeout(within, wait).await {
            Ok(()) => Ok(()),
            Err(_elapsed) => Err(self.not_ready().await),
        }
    }

    /// How it stands. `None` for a guard that was not connected.
    pub fn status(&self) -> Option<Status> {
        let connection = self.source::<Connection>()?;
        let lease_left = connection.watching.view().lease_left;
        Some(Status { has_keys: self.tokens().has_keys(), lease_left })
    }

    /// Its metrics as Prometheus text: the lease, the position, what is remembered.
    pub fn metrics(&self) -> String {
        self.source::<Connection>().map(|it| it.lifecycle.metrics().render()).unwrap_or_default()
    }

    /// Gives the lease back and stops, within 3 s. From then on every token is answered with 503. A process that just exits
    /// makes the next ending wait until its lease is over.
    pub async fn close(&self) {
        if let Some(connection) = self.source::<Connection>() {
            connection.lifecycle.trigger();
            connection.lifecycle.run_until_stopped().await;
        }
    }

    async fn not_ready(&self) -> NotReady {
        let mut missing = Vec::new();
        if let Err(error) = self.tokens().refresh_keys().await {
            missing.push(chassis::status::chain(&error));
        }
        let Some(connection) = self.source::<Connection>() else {
            return NotReady(vec!["it was not connected".to_owned()]);
        };
        let conditions = connection.lifecycle.conditions();
        missing.extend(conditions.into_iter().filter_map(|condition| {
            condition.state.err().map(|reason| format!("{}: {reason}", condition.name))
        }));
        NotReady(missing)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("lifecycle", &self.lifecycle).finish_non_exhaustive()
    }
}

fn settings(config: &Config) -> Result<Settings, ConnectError> {
    let expect = Expect::new(&*config.issuer, &*config.audience, config.algorithms.clone(), config.leeway)?;
    Ok(Settings { recipient_keys: recipient_keys(&config.recipient_keys)?, ..Settings::new(expect) })
}

/// A request id for a call that is nobody's errand.
fn request_id(entropy: &SharedEntropy, prefix: &str) -> String {
    chassis::entropy::id(&**entropy, prefix)
}
