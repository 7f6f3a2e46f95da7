//! One thread's connections to the applications.
//!
//! A connection is used by one request at a time and goes back when its answer has come in full. Idle ones are
//! closed well before common servers close theirs, so that a request seldom meets a connection that is closing.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::transfer::RequestBody;
use crate::http1::Small;
use crate::routing::UpstreamRule;
use crate::upstreams::Backend;

/// Node closes after 5 s, Apache after 5, nginx after 75.
const IDLE: Duration = Duration::from_secs(4);
/// More than this many idle connections to one endpoint are not kept.
const IDLE_CONNECTIONS: usize = 512;
/// How long an idle connection may need to be ready again.
const SETTLE: Duration = Duration::from_millis(20);
const CONNECT: Duration = Duration::from_secs(3);
/// An endpoint that could not be reached is left alone for so long, while there is another.
const COOL_DOWN: Duration = Duration::from_secs(1);

pub(super) type Sender = SendRequest<RequestBody>;

/// One application.
pub(super) struct Upstream {
    backend: Arc<Backend>,
    endpoints: Vec<Arc<Endpoint>>,
    /// State of a generator that spreads requests; it need not be unpredictable.
    dice: AtomicU64,
    drivers: TaskTracker,
}

struct Endpoint {
    address: String,
    idle: Mutex<Vec<Idle>>,
    in_flight: AtomicUsize,
    /// It could not be reached a moment ago. Cleared by the sweep, so that choosing reads no clock.
    cooling_down: AtomicBool,
    failed: Mutex<Option<Instant>>,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

/// A connection that is in use. Dropped, it is closed.
pub(super) struct Lease {
    sender: Option<Sender>,
    endpoint: Arc<Endpoint>,
}

/// A connection to send a request on.
pub(super) struct Leased {
    pub(super) lease: Lease,
    /// How long it had been idle; None for a new one.
    pub(super) idle: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Unreachable {
    #[error("{address}: no connection within {CONNECT:?}")]
    TimedOut { address: String },
    #[error("{address}: {source}")]
    Refused {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{address}: {source}")]
    Handshake {
        address: String,
        #[source]
        source: hyper::Error,
    },
    #[error("no endpoints")]
    None,
}

impl Upstream {
    pub(super) fn new(backend: &Arc<Backend>, seed: u64, drivers: TaskTracker) -> Self {
        let endpoint = |address: &String| {
            Arc::new(Endpoint {
                address: address.clone(),
                idle: Mutex::new(Vec::new()),
                in_flight: AtomicUsize::new(0),
                cooling_down: AtomicBool::new(false),
                failed: Mutex::new(None),
            })
        };
        Self {
            backend: Arc::clone(backend),
            endpoints: backend.rule.endpoints.iter().map(endpoint).collect(),
            dice: AtomicU64::new(seed | 1),
            drivers,
        }
    }

    pub(super) fn is_of(&self, backend: &Arc<Backend>) -> bool {
        Arc::ptr_eq(&self.backend, backend)
    }

    pub(super) fn rule(&self) -> &UpstreamRule {
        &self.backend.rule
    }

    /// A connection, idle or new. Tries another endpoint once where one cannot be reached: nothing was sent yet.
    pub(super) async fn lease(&self) -> Result<Leased, Unreachable> {
        let first = self.choose(None).ok_or(Unreachable::None)?;
        match self.lease_from(&first).await {
            Ok(leased) => Ok(leased),
            Err(unreachable) => match self.choose(Some(&first)) {
                Some(second) => Box::pin(self.lease_from(&second)).await,
                None => Err(unreachable),
            },
        }
    }

    /// A new connection: for a retry, where an idle one proved to be closed.
    pub(super) async fn lease_new(&self) -> Result<Leased, Unreachable> {
        let endpoint = self.choose(None).ok_or(Unreachable::None)?;
        self.connect(&endpoint).await
    }

    /// Of two endpoints taken at random, the one with fewer requests in flight.
    fn choose(&self, but: Option<&Arc<Endpoint>>) -> Option<Arc<Endpoint>> {
        if let ([only], None) = (self.endpoints.as_slice(), but) {
            return Some(Arc::clone(only));
        }
        let well = |endpoint: &&Arc<Endpoint>| !endpoint.cooling_down.load(Ordering::Relaxed);
        let other = |endpoint: &&Arc<Endpoint>| but.is_none_or(|but| !Arc::ptr_eq(but, endpoint));
        let (one, two) = (self.pick()?, self.pick()?);
        if [one, two].iter().all(|endpoint| well(endpoint) && other(endpoint)) {
            let fewer = one.in_flight.load(Ordering::Relaxed) <= two.in_flight.load(Ordering::Relaxed);
            return Some(Arc::clone(if fewer { one } else { two }));
        }
        let others = || self.endpoints.iter().filter(other);
        others().filter(well).chain(others()).next().map(Arc::clone)
    }

    fn pick(&self) -> Option<&Arc<Endpoint>> {
        let roll = self.dice.load(Ordering::Relaxed).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.dice.store(roll, Ordering::Relaxed);
        let index = usize::try_from(roll >> 33).unwrap_or(0) % self.endpoints.len().max(1);
        self.endpoints.get(index)
    }

    async fn lease_from(&self, endpoint: &Arc<Endpoint>) -> Result<Leased, Unreachable> {
        while let Some(Idle { mut sender, since }) = endpoint.take_idle() {
            let idle = since.elapsed();
            if idle >= IDLE {
                continue;
            }
            // Its driver may be a step behind, and says so when it is ready or gone. One that takes longer is still
            // sending a body that nobody reads.
            if sender.is_ready()
                || Box::pin(timeout(SETTLE, sender.ready())).await.is_ok_and(|ready| ready.is_ok())
            {
                return Ok(Leased { lease: Lease::new(sender, endpoint), idle: Some(idle) });
            }
        }
        // Boxed: rare, and large.
        Box::pin(self.connect(endpoint)).await
    }

    async fn connect(&self, endpoint: &Arc<Endpoint>) -> Result<Leased, Unreachable> {
        let address = || endpoint.address.clone();
        let connected = timeout(CONNECT, TcpStream::connect(endpoint.address.as_str())).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            failed => {
                endpoint.cool_down();
                return Err(match failed {
                    Ok(Err(source)) => Unreachable::Refused { address: address(), source },
                    _ => Unreachable::TimedOut { address: address() },
                });
            }
        };
        // Small writes must not wait for acknowledgements; failing to say so costs speed only.
        let _ = stream.set_nodelay(true);
        let handshake = Builder::new().handshake::<_, RequestBody>(TokioIo::new(Small(stream))).await;
        let (sender, connection) =
            handshake.map_err(|source| Unreachable::Handshake { address: address(), source })?;
        self.drivers.spawn(async move {
            // How it ends is told to the request that uses it, if there is one.
            let _ = connection.with_upgrades().await;
        });
        Ok(Leased { lease: Lease::new(sender, endpoint), idle: None })
    }

    /// Closes connections that have been idle for too long, and lets endpoints that failed be tried again.
    pub(super) fn sweep(&self) {
        for endpoint in &self.endpoints {
            endpoint
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|idle| idle.since.elapsed() < IDLE && !idle.sender.is_closed());
            let failed = *endpoint.failed.lock().unwrap_or_else(PoisonError::into_inner);
            if failed.is_some_and(|failed| failed.elapsed() >= COOL_DOWN) {
                endpoint.cooling_down.store(false, Ordering::Relaxed);
            }
        }
    }
}

impl Endpoint {
    /// The one used last: the others can grow old.
    fn take_idle(&self) -> Option<Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn cool_down(&self) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.cooling_down.store(true, Ordering::Relaxed);
    }
}

impl Lease {
    fn new(sender: Sender, endpoint: &Arc<Endpoint>) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { sender: Some(sender), endpoint: Arc::clone(endpoint) }
    }

    pub(super) fn sender(&mut self) -> Option<&mut Sender> {
        self.sender.as_mut()
    }

    /// For the next request, once this one's answer has come in full.
    pub(super) fn give_back(mut self) {
        let Some(sender) = self.sender.take() else { return };
        if sender.is_closed() {
            return;
        }
        let mut idle = self.endpoint.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
