//! The thread that watches what services change. A thread of its own: a process that is busy with requests must still
//! acknowledge changes in time.

use std::{sync::Arc, time::Duration};

use chassis::{
    clock::SharedClock,
    entropy::SharedEntropy,
    grpc::client::{ChannelError, channel},
    lifecycle::{Lifecycle, Readiness},
    tls::Identity,
};
use feed::{
    Variant, WatcherId,
    driver::watching::{View, Watching},
    grpc::ToReplicas,
    watcher::{Remember, Settings},
};
use futures_util::future::{BoxFuture, FutureExt as _, try_join_all};
use opentelemetry::metrics::Meter;

/// Until the first grant says how long leases are.
const EXPECTED_LEASE: Duration = Duration::from_secs(5);
/// How often it is looked whether there is a lease, for operators.
const LOOK_EVERY: Duration = Duration::from_millis(500);

type Follow = Box<dyn FnOnce(Identity, Lifecycle) -> BoxFuture<'static, Result<(), ChannelError>> + Send>;

/// The feeds that a process watches.
pub struct Feeds {
    owner: &'static str,
    identity: Identity,
    clock: SharedClock,
    entropy: SharedEntropy,
    lifecycle: Lifecycle,
    following: Vec<Follow>,
}

impl Feeds {
    /// `owner` stands in the names of the metrics: `latchkey_<owner>_<service>_feed_…`.
    pub fn new(
        owner: &'static str,
        identity: &Identity,
        clock: &SharedClock,
        entropy: &SharedEntropy,
        lifecycle: &Lifecycle,
    ) -> Self {
        Self {
            owner,
            identity: identity.clone(),
            clock: Arc::clone(clock),
            entropy: Arc::clone(entropy),
            lifecycle: lifecycle.clone(),
            following: Vec::new(),
        }
    }

    /// That of `service`, at these ports. Known is nothing, and permitted nothing, before [`Feeds::start`].
    pub fn watch<V>(&mut self, service: &'static str, endpoints: &[String]) -> Arc<Watching<V>>
    where
        V: Clone + Send + Sync + 'static,
    {
        let mut random = [0; 16];
        self.entropy.fill(&mut random);
        let settings =
            Settings { lease: EXPECTED_LEASE, remember: Remember::Everything, variant: Variant::default() };
        let id = WatcherId(u128::from_be_bytes(random));
        let watching = Watching::new(settings, id, feed::grpc::clock(Arc::clone(&self.clock)));
        show(&self.lifecycle.metrics().meter(), self.owner, service, &watching);
        let feed = Feed {
            name: service,
            endpoints: endpoints.to_vec(),
            watching: Arc::clone(&watching),
            lease: self.lifecycle.dependency(format!("{service}'s feed")),
        };
        let follow = |identity, lifecycle| async move { feed.follow(&identity, &lifecycle).await }.boxed();
        self.following.push(Box::new(follow));
        watching
    }

    /// Watches until the process drains: then the leases are given back, so that services which stop too need not wait for
    /// them, and for what is not decided yet somebody is asked.
    pub fn start(self) -> std::io::Result<()> {
        let Self { identity, lifecycle, following, .. } = self;
        let life = lifecycle.clone();
        let body = move || -> std::io::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let all = following.into_iter().map(|follow| follow(identity.clone(), life.clone()));
                match life.ended().run_until_cancelled(try_join_all(all)).await {
                    Some(Err(error)) => Err(std::io::Error::other(error)),
                    Some(Ok(_)) | None => Ok(()),
                }
            })
        };
        lifecycle.spawn_thread("feeds", body)
    }
}

/// One service's.
struct Feed<V> {
    name: &'static str,
    endpoints: Vec<String>,
    watching: Arc<Watching<V>>,
    lease: Readiness,
}

impl<V: Clone + Send + Sync + 'static> Feed<V> {
    async fn follow(&self, identity: &Identity, lifecycle: &Lifecycle) -> Result<(), ChannelError> {
        // Its own way: connections belong to the runtime of this thread.
        let replicas = channel(&self.endpoints, identity, self.name, lifecycle)?;
        let draining = lifecycle.draining();
        let replicas = Arc::new(ToReplicas::new(&replicas));
        tokio::select! {
            () = Arc::clone(&self.watching).run(replicas, draining.cancelled()) => {}
            () = self.say_lease() => {}
        }
        Ok(())
    }

    /// Never ends.
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

fn show<V>(meter: &Meter, owner: &str, service: &str, watching: &Arc<Watching<V>>)
where
    V: Clone + Send + Sync + 'static,
{
    let gauge = |what: &str, about: &'static str, read: fn(View) -> Option<f64>| {
        let watching = Arc::downgrade(watching);
        meter
            .f64_observable_gauge(format!("latchkey_{owner}_{service}_feed_{what}"))
            .with_description(about)
            .with_callback(move |observer| {
                if let Some(figure) = watching.upgrade().and_then(|watching| read(watching.view())) {
                    observer.observe(figure, &[]);
                }
            })
            .build();
    };
    gauge("lease_seconds", "For how long this process may still answer by itself.", |view| {
        Some(view.lease_left.map_or(0.0, |left| left.as_secs_f64()))
    });
    gauge("position", "The last change that is in force here.", |view| {
        Some(view.position.map_or(0.0, |position| position.number as f64))
    });
    gauge("remembered", "Things that are remembered as changed.", |view| Some(view.remembered as f64));
    // Before there was any news there is no age of it: nothing is not zero.
    gauge("staleness_seconds", "What was acknowledged longer ago is in force here.", |view| {
        view.staleness.map(|age| age.as_secs_f64())
    });
}
