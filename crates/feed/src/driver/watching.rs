//! A guard's side at work: it keeps a stream to one replica and lets any thread look into what it remembers.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered},
};
use tokio::sync::mpsc;

use super::{Clock, sleep_until};
use crate::{
    Credential, FromWatcher, Position, StreamId, Target, ToWatcher, Verdict, Wall, Watcher, WatcherId,
    issuer::Bounds,
    watcher::{Action, Event, Fetch, Fetched, FlightId, Settings},
};

/// How long a process that ends waits for its leases to be given back.
const GIVE_BACK_WITHIN: Duration = Duration::from_millis(500);

/// The replicas that can be watched.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Opens a stream to a replica, another one than last time if there is one. What comes out of `says` is sent, in
    /// order; its end closes the sending side. The stream ends when it breaks, or the replica closes it.
    async fn open(
        &self,
        says: mpsc::UnboundedReceiver<FromWatcher>,
    ) -> Result<BoxStream<'static, ToWatcher>, OutOfReach>;
}

/// No replica could be reached.
#[derive(Debug, thiserror::Error)]
#[error("no replica can be watched: {0}")]
pub struct OutOfReach(pub String);

/// What is known of one service's changes. Any number of threads may look at once.
pub struct Watching<V> {
    core: RwLock<Watcher<V>>,
    clock: Clock,
    /// Milliseconds; see [`Watching::ahead`].
    ahead: AtomicU64,
    /// By what time expiry was judged at the last message, in milliseconds.
    judged: AtomicU64,
    /// What the log's clock said at the last message, in milliseconds; 0: it has said nothing yet.
    log_time: AtomicU64,
}

/// How a watcher stands, for readiness and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// For how long local answers may still be given; `None`: they may not.
    pub lease_left: Option<Duration>,
    pub position: Option<Position>,
    pub remembered: usize,
    /// What was acknowledged longer ago, it knows.
    pub staleness: Option<Duration>,
}

impl<V: Clone + Send + Sync + 'static> Watching<V> {
    /// `id` is random. It knows nothing, and permits nothing, before [`Watching::run`].
    pub fn new(settings: Settings, id: WatcherId, clock: Clock) -> Arc<Self> {
        // A replica that has something to say about it names it so.
        tracing::info!(watcher = %id, "changes are watched");
        let now = clock.now();
        let judged = AtomicU64::new(now.wall.unix_millis());
        let core = RwLock::new(Watcher::new(settings, id, now));
        Arc::new(Self { core, clock, ahead: AtomicU64::new(0), judged, log_time: AtomicU64::new(0) })
    }

    /// Whether a credential is void. `None`: there is no lease, so nobody here knows.
    pub fn judge(&self, credential: &Credential) -> Option<Verdict> {
        let core = self.read();
        // After the lock: what is applied from here on is acknowledged only after this answer.
        let permit = core.permit(self.clock.moment())?;
        Some(core.judge(&permit, credential))
    }

    /// As [`Watcher::fetch`]. `None`: there is no lease, so nothing is cached and nobody joins.
    pub fn fetch(&self, target: &Target) -> Option<Fetch<V>> {
        let mut core = self.write();
        let permit = core.permit(self.clock.moment())?;
        Some(core.fetch(&permit, target))
    }

    /// As [`Watcher::fetched`].
    pub fn fetched(&self, flight: FlightId, value: Option<V>) -> Fetched {
        self.write().fetched(flight, value)
    }

    /// Whether a route that prefers old answers to none may still give them.
    pub fn may_serve_stale(&self, stale_for: Duration) -> bool {
        self.read().may_serve_stale(stale_for, self.clock.moment())
    }

    /// As [`crate::Endings::roles_version`].
    pub fn roles_version(&self) -> u64 {
        self.read().endings().roles_version()
    }

    /// By how much the time at which expiry is to be judged is ahead of this process's wall clock, which says `wall`: the log's
    /// may be the later one, as of the last message, and this one may have been turned back, even since then.
    pub fn ahead(&self, wall: Wall) -> Duration {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let turned_back = self.judged.load(Ordering::Relaxed).saturating_sub(wall.unix_millis());
        Duration::from_millis(ahead.max(turned_back))
    }

    /// Whether this process's wall clock, which says `wall`, is further ahead of the log's than clocks may be apart. What has expired
    /// by it alone may be good.
    pub fn is_astray(&self, wall: Wall) -> bool {
        let log_time = self.log_time.load(Ordering::Relaxed);
        let apart = u64::try_from(Bounds::DEFAULT.clocks_apart.as_millis()).unwrap_or(u64::MAX);
        log_time != 0 && wall.unix_millis() > log_time.saturating_add(apart)
    }

    /// What is remembered of a credential, lease or not: only for who may serve stale.
    pub fn judge_stale(&self, credential: &Credential) -> Verdict {
        self.read().endings().judge(credential)
    }

    pub fn view(&self) -> View {
        let core = self.read();
        let now = self.clock.moment();
        let lease_left = core.lease_end().map(|end| end.since(now)).filter(|left| !left.is_zero());
        View {
            lease_left,
            position: core.position(),
            remembered: core.endings().len(),
            staleness: core.staleness(now),
        }
    }

    /// Watches until `stop` resolves, then gives its leases back. From there on nothing is permitted.
    pub async fn run(self: Arc<Self>, dial: Arc<dyn Dial>, stop: impl Future<Output = ()>) {
        let (hears, heard) = mpsc::unbounded_channel();
        let mut worker = Worker {
            watching: self,
            dial,
            hears,
            heard,
            streams: HashMap::new(),
            open: FuturesUnordered::new(),
        };
        tokio::select! {
            () = worker.watch() => {}
            () = stop => {}
        }
        // Whoever cannot be told waits until they are over.
        let _ = tokio::time::timeout(GIVE_BACK_WITHIN, worker.stop()).await;
    }

    fn read(&self) -> RwLockReadGuard<'_, Watcher<V>> {
        self.core.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Watcher<V>> {
        self.core.write().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Worker<V> {
    watching: Arc<Watching<V>>,
    dial: Arc<dyn Dial>,
    hears: mpsc::UnboundedSender<(StreamId, ToWatcher)>,
    heard: mpsc::UnboundedReceiver<(StreamId, ToWatcher)>,
    streams: HashMap<StreamId, mpsc::UnboundedSender<FromWatcher>>,
    open: FuturesUnordered<BoxFuture<'static, StreamId>>,
}

impl<V: Clone + Send + Sync + 'static> Worker<V> {
    /// Gives back what it has, and waits until that was heard.
    async fn stop(&mut self) {
        self.on(Event::Stop);
        while self.open.next().await.is_some() {}
    }

    /// Never ends.
    async fn watch(&mut self) {
        self.on(Event::Started);
        loop {
            let now = self.watching.clock.moment();
            let deadline = self.watching.read().deadline();
            tokio::select! {
                biased;
                // What a stream said before it ended is heard before its end.
                Some((stream, message)) = self.heard.recv() => self.on(Event::Received { stream, message }),
                Some(stream) = self.open.next(), if !self.open.is_empty() => {
                    self.streams.remove(&stream);
                    self.on(Event::StreamClosed { stream });
                }
                () = sleep_until(Some(deadline), now) => self.on(Event::Tick),
            }
        }
    }

    fn on(&mut self, event: Event) {
        let actions = {
            let mut core = self.watching.write();
            let now = self.watching.clock.now();
            let actions = core.on(event, now);
            let judged = core.judging_time(now).unix_millis();
            let ahead = judged.saturating_sub(now.wall.unix_millis());
            self.watching.judged.store(judged, Ordering::Relaxed);
            self.watching.ahead.store(ahead, Ordering::Relaxed);
            let log_time = core.log_time(now).map_or(0, Wall::unix_millis);
            self.watching.log_time.store(log_time, Ordering::Relaxed);
            actions
        };
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect { stream } => {
                let (says, said) = mpsc::unbounded_channel();
                self.streams.insert(stream, says);
                let (dial, hears) = (Arc::clone(&self.dial), self.hears.clone());
                self.open.push(
                    async move {
                        match dial.open(said).await {
                            Ok(mut messages) => {
                                while let Some(message) = messages.next().await {
                                    let _ = hears.send((stream, message));
                                }
                            }
                            Err(error) => tracing::debug!(%error, "watching"),
                        }
                        stream
                    }
                    .boxed(),
                );
            }
            Action::Send { stream, message } => {
                if let Some(says) = self.streams.get(&stream) {
                    let _ = says.send(message);
                }
            }
            Action::Disconnect { stream } => {
                self.streams.remove(&stream);
            }
            // Nobody here holds open streams that could end.
            Action::Applied { .. } | Action::CaughtUp { .. } => {}
            Action::ClocksApart(true) => {
                tracing::error!(
                    "this machine's clock and the service's are more than 10 minutes apart: no lease"
                );
            }
            Action::ClocksApart(false) => {
                tracing::info!("this machine's clock and the service's agree again")
            }
        }
    }
}
