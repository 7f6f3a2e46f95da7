//! The thread that watches what the services change. A thread of its own: a gateway that is busy with requests must still
//! acknowledge changes in time.

use std::sync::Arc;
use std::time::Duration;

use chassis::clock::SharedClock;
use chassis::entropy::SharedEntropy;
use chassis::grpc::client::{ChannelError, channel};
use chassis::lifecycle::{Lifecycle, Readiness};
use chassis::tls::Identity;
use feed::driver::watching::{View, Watching};
use feed::grpc::ToReplicas;
use feed::watcher::{Remember, Settings};
use feed::{Variant, WatcherId};
use opentelemetry::metrics::Meter;

use super::{Changes, StartError};
use crate::config::Config;
use crate::layers::identity::Roles;
use crate::peers::endings::FeedEndings;

/// Until the first grant says how long leases are.
const EXPECTED_LEASE: Duration = Duration::from_secs(5);
/// How often it is looked whether there is a lease, for operators.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Watches auth-service and policy-service until the process drains: then the leases are given back, so that services which
/// stop too need not wait for them, and for the few requests that are not decided yet auth-service is asked.
pub(super) fn changes(
    config: &Config,
    identity: &Identity,
    clock: &SharedClock,
    entropy: &SharedEntropy,
    lifecycle: &Lifecycle,
) -> Result<Changes, StartError> {
    let feeds = &config.feeds;
    let auth: Feed<()> = Feed::new("auth", &feeds.auth.endpoints, clock, entropy, lifecycle);
    let policy: Feed<Roles> = Feed::new("policy", &feeds.policy.endpoints, clock, entropy, lifecycle);
    // Two ways: whoever asks because the one that is watched on is broken should not find the same one.
    let asking = channel(&feeds.auth.endpoints, identity, "auth", lifecycle)?;
    let changes = Changes {
        endings: Arc::new(FeedEndings::new(
            Arc::clone(&auth.watching),
            asking,
            Arc::clone(entropy),
            config.limits.check_timeout,
        )),
        roles: Arc::clone(&policy.watching) as _,
    };
    let (identity, life) = (identity.clone(), lifecycle.clone());
    let body = move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let both =
                async { tokio::try_join!(auth.follow(&identity, &life), policy.follow(&identity, &life)) };
            match life.ended().run_until_cancelled(both).await {
                Some(Err(error)) => Err(std::io::Error::other(error)),
                Some(Ok(_)) | None => Ok(()),
            }
        })
    };
    lifecycle.spawn_support_thread("feeds", body).map_err(StartError::Thread)?;
    Ok(changes)
}

/// One service's.
struct Feed<V> {
    name: &'static str,
    endpoints: Vec<String>,
    watching: Arc<Watching<V>>,
    lease: Readiness,
}

impl<V: Clone + Send + Sync + 'static> Feed<V> {
    fn new(
        name: &'static str,
        endpoints: &[String],
        clock: &SharedClock,
        entropy: &SharedEntropy,
        lifecycle: &Lifecycle,
    ) -> Self {
        let mut random = [0; 16];
        entropy.fill(&mut random);
        let settings =
            Settings { lease: EXPECTED_LEASE, remember: Remember::Everything, variant: Variant::default() };
        let id = WatcherId(u128::from_be_bytes(random));
        let watching = Watching::new(settings, id, feed::grpc::clock(Arc::clone(clock)));
        show(&lifecycle.metrics().meter(), name, &watching);
        let lease = lifecycle.dependency(format!("{name}'s feed"));
        Self { name, endpoints: endpoints.to_vec(), watching, lease }
    }

    /// Never ends well.
    async fn follow(&self, identity: &Identity, lifecycle: &Lifecycle) -> Result<(), ChannelError> {
        let replicas = channel(&self.endpoints, identity, self.name, lifecycle)?;
        let draining = lifecycle.draining();
        let replicas = Arc::new(ToReplicas::new(&replicas));
        let watches = Arc::clone(&self.watching).run(replicas, draining.cancelled());
        tokio::join!(watches, self.say_lease());
        Ok(())
    }

    async fn say_lease(&self) {
        loop {
            match self.watching.view().lease_left {
                Some(_) => self.lease.ready(),
                None => self.lease.not_ready("no lease: it is asked with every request, or answered 503"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn show<V: Clone + Send + Sync + 'static>(meter: &Meter, name: &str, watching: &Arc<Watching<V>>) {
    let gauge = |what: &str, about: &'static str, read: fn(View) -> f64| {
        let watching = Arc::downgrade(watching);
        meter
            .f64_observable_gauge(format!("latchkey_gateway_{name}_feed_{what}"))
            .with_description(about)
            .with_callback(move |observer| {
                if let Some(watching) = watching.upgrade() {
                    observer.observe(read(watching.view()), &[]);
                }
            })
            .build();
    };
    gauge("lease_seconds", "For how long this gateway may still answer by itself.", |view| {
        view.lease_left.map_or(0.0, |left| left.as_secs_f64())
    });
    gauge("position", "The last change that is in force here.", |view| {
        view.position.map_or(0.0, |position| position.number as f64)
    });
    gauge("remembered", "Things that are remembered as changed.", |view| view.remembered as f64);
    gauge("staleness_seconds", "What was acknowledged longer ago is in force here.", |view| {
        view.staleness.map_or(0.0, |age| age.as_secs_f64())
    });
}
