//! Replicas of one service on one log, each with a port and a thread of its own, and guards that watch them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chassis::{
    clock::SystemClock,
    config::{Access, Shutdown, Tls, TlsMode},
    entropy::SystemEntropy,
    grpc::{client::channel, server::bind},
    lifecycle::Lifecycle,
    tls::Identity,
};
use latchkey_feed::{
    Change, Credential, Member, MemberId, Position, Target, Variant, Wall, WatcherId, What,
    driver::{serving::Serving, watching::Watching},
    grpc::{Feed, Membership, ToReplicas, clock, start},
    log::{Appended, Beat, Log, LogUnavailable, MemoryLog, Placed, Read, Snapshot},
    watcher::{Remember, Settings},
};
use tokio::sync::watch;

pub const LEASE: Duration = Duration::from_secs(1);

pub fn ending(number: usize) -> Change {
    let target = Target::new(What::Token, format!("tok_{number}"));
    let until = clock(SystemClock::shared()).now().wall + Duration::from_secs(3600);
    Change { target, min: None, except: None, until }
}

pub fn token(number: usize) -> Credential {
    Credential { token: Some(format!("tok_{number}").into()), ..Credential::default() }
}

pub fn external() -> Identity {
    Identity::load(&Tls {
        mode: TlsMode::External,
        certificate: "".into(),
        key: "".into(),
        authority: "".into(),
        domain: String::new(),
    })
    .unwrap()
}

/// Waits for what will happen by itself; a test that waits in vain fails.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, async || holds()).await;
}

/// As [`until`], for what has to be asked.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..2000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("in vain: {what}");
}

pub struct Replica {
    pub address: SocketAddr,
    pub serving: Serving,
    pub lifecycle: Lifecycle,
}

pub struct Cluster {
    pub log: Arc<Away>,
    pub replicas: Vec<Replica>,
    /// The guards'.
    lifecycle: Lifecycle,
}

impl Cluster {
    pub async fn start(count: usize) -> Self {
        let read = clock(SystemClock::shared());
        let log = Arc::new(Away {
            log: MemoryLog::new(move || read.now().wall),
            is_away: AtomicBool::new(false),
            answers_beats: watch::Sender::new(true),
            beats: AtomicU64::new(0),
        });
        let mut cluster = Self { log, replicas: Vec::new(), lifecycle: Lifecycle::new(quick()) };
        for number in 0..count {
            cluster.begin().await;
            let ready = cluster.replica(number).lifecycle.clone();
            until("it is ready", move || ready.is_ready()).await;
        }
        cluster
    }

    /// One replica more, which is not waited for.
    pub async fn begin(&mut self) {
        self.replicas.push(replica(&self.log).await);
    }

    pub fn replica(&self, number: usize) -> &Replica {
        &self.replicas[number]
    }

    /// As SIGTERM to every guard.
    pub fn stop_guards(&self) {
        self.lifecycle.trigger();
    }

    /// As `kill -9` does.
    pub fn kill(&mut self, number: usize) {
        self.replicas[number].lifecycle.end();
    }

    /// As SIGTERM does; resolves when it has stopped.
    pub fn stop(&mut self, number: usize) -> impl Future<Output = ()> + use<> {
        let lifecycle = self.replicas[number].lifecycle.clone();
        lifecycle.trigger();
        async move {
            let exit = lifecycle.run_until_stopped().await;
            assert_eq!(exit, chassis::lifecycle::Exit::Clean);
        }
    }

    pub fn guard_that_watches_nobody(&self) -> Arc<Watching<()>> {
        static WATCHERS: AtomicU64 = AtomicU64::new(1);
        let settings = Settings { lease: LEASE, remember: Remember::Everything, variant: Variant::default() };
        let id = WatcherId(WATCHERS.fetch_add(1, Ordering::Relaxed).into());
        Watching::new(settings, id, clock(SystemClock::shared()))
    }

    /// With its first lease.
    pub async fn guard(&self) -> Arc<Watching<()>> {
        let guard = self.guard_that_watches_nobody();
        let endpoints: Vec<String> =
            self.replicas.iter().map(|replica| format!("http://{}", replica.address)).collect();
        let channel = channel(&endpoints, &external(), "auth", &self.lifecycle).unwrap();
        let stopping = self.lifecycle.stopping().cancelled_owned();
        let work = Arc::clone(&guard).run(Arc::new(ToReplicas::new(&channel)), stopping);
        self.lifecycle.spawn_support("watching", async move {
            let _channel = channel;
            work.await;
        });
        until("the first lease", || guard.view().lease_left.is_some()).await;
        guard
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for replica in &self.replicas {
            replica.lifecycle.end();
        }
        self.lifecycle.end();
    }
}

fn quick() -> Shutdown {
    Shutdown { settle: Duration::from_millis(50), drain: Duration::from_secs(20) }
}

async fn replica(log: &Arc<Away>) -> Replica {
    let lifecycle = Lifecycle::new(quick());
    let listener = bind("feed.listen", SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let log = Arc::clone(log);
    let membership = Membership {
        name: "auth",
        settings: Feed {
            listen: address,
            advertise: String::new(),
            lease: LEASE,
            variant: Variant::default(),
        },
        identity: external(),
        access: Access::default(),
        clock: SystemClock::shared(),
        entropy: SystemEntropy::shared(),
        open_log: Box::new(move || Box::pin(async move { log as Arc<dyn Log> })),
    };
    let serving = start(membership, listener, &lifecycle).await.unwrap();
    Replica { address, serving, lifecycle }
}

/// A log that can be out of reach, or answer everything but beats.
pub struct Away {
    log: MemoryLog,
    is_away: AtomicBool,
    answers_beats: watch::Sender<bool>,
    beats: AtomicU64,
}

impl Away {
    pub fn take_away(&self) {
        self.is_away.store(true, Ordering::SeqCst);
    }

    pub fn give_back(&self) {
        self.is_away.store(false, Ordering::SeqCst);
    }

    /// Each is held back, and answered once they are to be answered again.
    pub fn answer_beats(&self, answers: bool) {
        self.answers_beats.send_replace(answers);
    }

    /// How many have arrived.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::SeqCst)
    }

    pub async fn members(&self) -> Vec<Member> {
        self.log.members().await.unwrap()
    }

    fn here(&self) -> Result<&MemoryLog, LogUnavailable> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(LogUnavailable::new("away")),
            false => Ok(&self.log),
        }
    }
}

#[async_trait]
impl Log for Away {
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
        let beat = self.here()?.beat(member, after).await;
        self.beats.fetch_add(1, Ordering::SeqCst);
        // INVARIANT: the sender lives as long as `self`.
        let _ = self.answers_beats.subscribe().wait_for(|answers| *answers).await;
        beat
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
