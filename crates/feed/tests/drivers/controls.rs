//! Scenarios of the specification on a real PostgreSQL, each with its control: the same without the rule that it is about, which
//! must let in what has ended. Whole processes go through them in `crates/latchkey/tests/it`, where no rule can be broken.
//!
//! There is a replica that the others do not reach, so that an ending has to wait it out, and a guard that watches it alone.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chassis::{
    clock::SystemClock,
    config::{Access, Shutdown},
    entropy::SystemEntropy,
    grpc::{client::channel, server::bind},
    lifecycle::Lifecycle,
};
use futures_util::{StreamExt as _, stream::BoxStream};
use latchkey_feed::{
    Broken, Change, FromWatcher, Member, MemberId, Position, ToWatcher, Variant, Verdict, Wall, WatcherId,
    driver::{
        serving::Serving,
        watching::{Dial, OutOfReach, Watching},
    },
    grpc::{Feed, Membership, ToReplicas, clock, start},
    log::{
        Appended, Beat, Log, LogUnavailable, Placed, Read, Snapshot,
        postgres::{APPEND, PostgresLog, TABLES},
    },
    replica::{Mode, Outcome},
    watcher::{Remember, Settings},
};
use servers::{Postgres, Sync};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::sync::{mpsc::UnboundedReceiver, watch};

use crate::cluster::{LEASE, ending, external, token, until};

/// How often something is tried that a machine which is too slow can miss.
const TRIES: usize = 5;

/// A replica's way to its log, which can be cut.
struct Cut {
    log: PostgresLog,
    is_cut: Arc<AtomicBool>,
}

impl Cut {
    fn here(&self) -> Result<&PostgresLog, LogUnavailable> {
        match self.is_cut.load(Ordering::SeqCst) {
            true => Err(LogUnavailable::new("cut")),
            false => Ok(&self.log),
        }
    }
}

#[async_trait]
impl Log for Cut {
    async fn append(&self, changes: &[Appended]) -> Result<Placed, LogUnavailable> {
        self.here()?.append(changes).await
    }

    async fn read(&self, after: Position) -> Result<Read, LogUnavailable> {
        self.here()?.read(after).await
    }

    async fn snapshot(&self) -> Result<Snapshot, LogUnavailable> {
        self.here()?.snapshot().await
    }

    async fn beat(&self, member: MemberId, after: Position) -> Result<Beat, LogUnavailable> {
        self.here()?.beat(member, after).await
    }

    async fn register(&self, member: &Member) -> Result<(), LogUnavailable> {
        self.here()?.register(member).await
    }

    async fn fence(&self, member: MemberId) -> Result<(), LogUnavailable> {
        self.here()?.fence(member).await
    }

    async fn remove(&self, member: MemberId) -> Result<(), LogUnavailable> {
        self.here()?.remove(member).await
    }

    async fn members(&self) -> Result<Vec<Member>, LogUnavailable> {
        self.here()?.members().await
    }

    async fn trim(&self, wall: Wall, before: u64) -> Result<bool, LogUnavailable> {
        self.here()?.trim(wall, before).await
    }
}

/// What a guard hears, which can be held up.
struct Line {
    replicas: ToReplicas,
    is_held_up: watch::Receiver<bool>,
}

#[async_trait]
impl Dial for Line {
    async fn open(
        &self,
        says: UnboundedReceiver<FromWatcher>,
    ) -> Result<BoxStream<'static, ToWatcher>, OutOfReach> {
        let is_held_up = self.is_held_up.clone();
        let heard = self.replicas.open(says).await?.then(move |message| {
            let mut is_held_up = is_held_up.clone();
            async move {
                // INVARIANT: the scene lives longer than its guard.
                let _ = is_held_up.wait_for(|is| !is).await;
                message
            }
        });
        Ok(heard.boxed())
    }
}

/// The one out of reach, the one that ends, and the guard of the first.
struct Scene {
    _server: Postgres,
    is_cut: Arc<AtomicBool>,
    is_held_up: watch::Sender<bool>,
    ender: Serving,
    guard: Arc<Watching<()>>,
    lifecycle: Lifecycle,
}

impl Scene {
    /// `lease` is what the one out of reach grants; the one that ends grants [`LEASE`].
    async fn new(lease: Duration, variant: Variant) -> Self {
        let server = Postgres::start(Sync::Off);
        for part in [TABLES, APPEND] {
            sqlx::raw_sql(part).execute(&pool(&server.url()).await).await.unwrap();
        }
        let shutdown = Shutdown { settle: Duration::from_millis(50), drain: Duration::from_secs(20) };
        let lifecycle = Lifecycle::new(shutdown);
        let is_cut = Arc::new(AtomicBool::new(false));
        let nowhere = bind("nowhere", SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let nowhere = format!("http://{}", nowhere.local_addr().unwrap());
        let (address, _) = replica(&server, &is_cut, nowhere, lease, variant, &lifecycle).await;
        let (_, ender) = replica(&server, &Arc::default(), String::new(), LEASE, variant, &lifecycle).await;
        let ready = lifecycle.clone();
        until("they are ready", move || ready.is_ready()).await;

        let settings = Settings { lease, remember: Remember::Everything, variant };
        let guard = Watching::new(settings, WatcherId(1), clock(SystemClock::shared()));
        let channel = channel(&[format!("http://{address}")], &external(), "auth", &lifecycle).unwrap();
        let (is_held_up, held_up) = watch::channel(false);
        let line = Line { replicas: ToReplicas::new(&channel), is_held_up: held_up };
        let work = Arc::clone(&guard).run(Arc::new(line), lifecycle.stopping().cancelled_owned());
        lifecycle.spawn_support("watching", async move {
            let _channel = channel;
            work.await;
        });
        let scene = Self { _server: server, is_cut, is_held_up, ender, guard, lifecycle };
        until("the first lease", || scene.lets_in(0)).await;
        scene
    }

    fn lets_in(&self, number: usize) -> bool {
        self.guard.judge(&token(number)) == Some(Verdict::Live)
    }

    /// Whether the guard still lets it in once it is acknowledged.
    async fn lets_in_after(&self, number: usize, changes: Vec<Change>) -> bool {
        let outcome = self.ender.end(changes, Mode::Everywhere).await;
        assert!(matches!(outcome, Outcome::Done { everywhere: true, .. }), "{outcome:?}");
        self.lets_in(number)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.lifecycle.end();
    }
}

async fn pool(url: &str) -> PgPool {
    PgPoolOptions::new().max_connections(3).connect(url).await.unwrap()
}

async fn replica(
    server: &Postgres,
    is_cut: &Arc<AtomicBool>,
    advertise: String,
    lease: Duration,
    variant: Variant,
    lifecycle: &Lifecycle,
) -> (SocketAddr, Serving) {
    let listener = bind("feed.listen", SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let (url, is_cut) = (server.url(), Arc::clone(is_cut));
    let membership = Membership {
        name: "auth",
        settings: Feed { listen: address, advertise, lease, variant },
        identity: external(),
        access: Access::default(),
        clock: SystemClock::shared(),
        entropy: SystemEntropy::shared(),
        open_log: Box::new(move || {
            Box::pin(async move {
                Arc::new(Cut { log: PostgresLog::new(pool(&url).await), is_cut }) as Arc<dyn Log>
            })
        }),
    };
    (address, start(membership, listener, lifecycle).await.unwrap())
}

/// Never with every rule, and at least once without this one.
async fn only_without(rule: Broken, lets_in: impl AsyncFn(Variant) -> bool) {
    assert!(!lets_in(Variant::default()).await, "it ended, and is let in");
    for _ in 0..TRIES {
        if lets_in(Variant::broken(rule)).await {
            return;
        }
    }
    panic!("{rule:?} lets nothing in that has ended: this shows nothing");
}

#[tokio::test]
async fn a_replica_that_is_cut_off_from_its_log_would_let_in_what_ended_if_it_granted_without_a_beat() {
    only_without(Broken::GrantWithoutBeat, async |variant| {
        let scene = Scene::new(LEASE, variant).await;
        scene.is_cut.store(true, Ordering::SeqCst);
        scene.lets_in_after(1, vec![ending(1)]).await
    })
    .await;
}

#[tokio::test]
async fn an_ending_that_is_asked_for_again_would_be_done_too_early_if_it_did_not_wait_again() {
    only_without(Broken::RepeatEndAtOnce, async |variant| {
        let scene = Scene::new(LEASE, variant).await;
        scene.is_held_up.send_replace(true);
        // Committed, and not to be acknowledged for a lease to come: whoever asked goes away.
        let first = scene.ender.end(vec![ending(1)], Mode::Everywhere);
        let outcome = tokio::time::timeout(LEASE / 10, first).await;
        assert!(outcome.is_err(), "{outcome:?}");
        scene.lets_in_after(1, Vec::new()).await
    })
    .await;
}

#[tokio::test]
async fn a_longer_lease_of_another_replica_would_outlive_an_ending_that_goes_by_its_own() {
    only_without(Broken::OwnLeaseLength, async |variant| {
        let scene = Scene::new(4 * LEASE, variant).await;
        scene.is_held_up.send_replace(true);
        scene.is_cut.store(true, Ordering::SeqCst);
        scene.lets_in_after(1, vec![ending(1)]).await
    })
    .await;
}
