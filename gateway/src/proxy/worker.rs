//! One thread that serves requests: its own runtime, listener, upstream connections and neighbours' channels, so that
//! threads share nothing that is written.

use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use chassis::lifecycle::Lifecycle;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection;
use super::counters::Counters;
use super::plan::Plan;
use crate::http1::Timeouts;
use crate::layers::caller::RequestId;
use crate::peers::Peers;
use crate::state::{Shared, State};
use crate::upstreams::Table;

const SWEEP: Duration = Duration::from_secs(1);
/// After accepting failed, for instance for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// What all connections of a thread stand on.
pub(super) struct Thread {
    pub(super) state: State,
    pub(super) surface: Surface,
    pub(super) own: Router,
    /// Replaced by this thread alone; a request loads it once.
    pub(super) plan: ArcSwap<Plan>,
    /// Drive upstream connections, and end when nobody uses them: draining does not wait for them.
    drivers: TaskTracker,
    pub(super) counters: Arc<Counters>,
    /// Connections, HTTP/2 streams and tunnels: what draining waits for.
    pub(super) tasks: TaskTracker,
    /// This thread's own, so that looking at it meets no other thread.
    pub(super) draining: CancellationToken,
    pub(super) ended: CancellationToken,
    pub(super) timeouts: Timeouts,
    /// Whether clients reach us by https, unless a trusted proxy knows better.
    pub(super) https: bool,
    process: u64,
    requests: AtomicU64,
}

impl Thread {
    pub(super) fn next_id(&self) -> RequestId {
        RequestId::new(self.process, self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Requests that begin from now on are the new table's.
    fn follow(&self, table: Arc<Table>) {
        let before = self.plan.load();
        self.plan.store(Plan::new(table, Some(&before), self.process, &self.drivers));
    }
}

/// Which endpoints a listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Routes, and the gateway's own paths.
    Public,
    /// Administration only.
    Internal,
}

/// What a thread is made of.
pub struct Worker {
    pub number: usize,
    pub surface: Surface,
    pub listener: StdListener,
    pub shared: Arc<Shared>,
    pub tables: watch::Receiver<Arc<Table>>,
    pub counters: Arc<Counters>,
    pub lifecycle: Lifecycle,
}

/// Why a thread could not begin, or go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("a worker's runtime could not be made: {0}")]
    Runtime(#[source] io::Error),
    #[error("a worker's listener could not be used: {0}")]
    Listener(#[source] io::Error),
    #[error("a neighbour's address cannot be used: {0}")]
    Neighbour(String),
}

impl Worker {
    /// Serves until the process has drained, on the calling thread. `dial` makes the thread's own channels.
    pub fn run(self, dial: impl FnOnce() -> Result<Peers, WorkerError>) -> Result<(), WorkerError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(WorkerError::Runtime)?;
        runtime.block_on(self.serve(dial))
    }

    async fn serve(self, dial: impl FnOnce() -> Result<Peers, WorkerError>) -> Result<(), WorkerError> {
        let listener = TcpListener::from_std(self.listener).map_err(WorkerError::Listener)?;
        let mut random = [0_u8; 8];
        self.shared.entropy.fill(&mut random);
        let process = u64::from_le_bytes(random);
        let state = State { shared: Arc::clone(&self.shared), peers: dial()? };
        let drivers = TaskTracker::new();
        let mut tables = self.tables;
        let table = Arc::clone(&tables.borrow_and_update());
        let limits = &self.shared.config.limits;
        let thread = Arc::new(Thread {
            own: match self.surface {
                Surface::Public => crate::own::public(state.clone()),
                Surface::Internal => crate::own::internal(state.clone()),
            },
            surface: self.surface,
            plan: ArcSwap::new(Plan::new(table, None, process, &drivers)),
            drivers,
            state,
            counters: self.counters,
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            ended: self.lifecycle.ended(),
            timeouts: Timeouts { head: limits.head_timeout, idle: limits.idle_timeout },
            https: self.shared.config.public_url.is_https(),
            process,
            requests: AtomicU64::new(0),
        });
        accept(&thread, listener, limits.connections, tables, &self.lifecycle.draining()).await;
        thread.draining.cancel();
        thread.tasks.close();
        tokio::select! {
            () = thread.tasks.wait() => {}
            () = thread.ended.cancelled() => {}
        }
        tracing::debug!(worker = self.number, left = thread.tasks.len(), "stopped");
        Ok(())
    }
}

/// Takes connections until the process drains. Those that the kernel has completed by then are still served,
/// if a request comes at once.
async fn accept(
    thread: &Arc<Thread>,
    listener: TcpListener,
    limit: usize,
    mut tables: watch::Receiver<Arc<Table>>,
    draining: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            (accepted, place) = next(&listener, &places) => match accepted {
                Ok((stream, peer)) => open(thread, stream, peer, place),
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    sleep(ACCEPT_AGAIN).await;
                }
            },
            _ = sweep.tick() => thread.plan.load().sweep(),
            Ok(()) = tables.changed() => {
                let table = Arc::clone(&tables.borrow_and_update());
                thread.follow(table);
            }
            () = draining.cancelled() => break,
        }
    }
    // The kernel is asked itself: what the runtime knows of it may be from before.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok(place) = Arc::clone(&places).try_acquire_owned() {
        match listener.accept() {
            Ok((stream, peer)) => {
                if stream.set_nonblocking(true).is_ok()
                    && let Ok(stream) = TcpStream::from_std(stream)
                {
                    open(thread, stream, peer, place);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => break,
        }
    }
}

type Accepted = io::Result<(TcpStream, SocketAddr)>;

async fn next(listener: &TcpListener, places: &Arc<Semaphore>) -> (Accepted, OwnedSemaphorePermit) {
    match Arc::clone(places).acquire_owned().await {
        Ok(place) => (listener.accept().await, place),
        // INVARIANT: the semaphore is never closed.
        Err(_) => pending().await,
    }
}

fn open(thread: &Arc<Thread>, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
    thread.counters.opened();
    let own = Arc::clone(thread);
    thread.tasks.spawn(async move {
        let _closed = Closed(Arc::clone(&own.counters));
        connection::serve(own, stream, peer).await;
        drop(place);
    });
}

/// Counts a connection as closed also when it panicked.
struct Closed(Arc<Counters>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.closed();
    }
}
