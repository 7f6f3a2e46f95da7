//! One thread's connections to one endpoint of an application.
//!
//! An HTTP/1 connection is used by one request at a time and goes back when its answer has come in full. Idle ones are
//! closed well before common servers close theirs, so that a request seldom meets a connection that is closing.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;

use super::alarm::Alarm;
use super::latency::Latency;
use super::multiplexed::{Multiplexed, Stream};
use super::transfer::RequestBody;
use crate::http1::Small;
use crate::routing::Protocol;
use crate::upstreams::{Backend, Failed, Place, Vitals};

/// Node closes after 5 s, Apache after 5, nginx after 75.
const IDLE: Duration = Duration::from_secs(4);
/// More than this many idle connections to one endpoint are not kept.
const IDLE_CONNECTIONS: usize = 512;
/// How long an idle connection may need to be ready again.
const SETTLE: Duration = Duration::from_millis(20);

type Sent = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

pub(super) struct Endpoint {
    backend: Arc<Backend>,
    vitals: Arc<Vitals>,
    idle: Mutex<Vec<Idle>>,
    /// Of HTTP/2.
    multiplexed: Multiplexed,
    in_flight: AtomicUsize,
    latency: Latency,
    drivers: TaskTracker,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Of HTTP/1.
struct Connection {
    sender: SendRequest<RequestBody>,
    alarm: Alarm,
}

enum Sender {
    Http1(Connection),
    Http2(Stream),
}

/// A connection that is in use, or a stream of one. Dropped, it is closed.
pub(super) struct Lease {
    /// None: it was given back.
    sender: Option<Sender>,
    endpoint: Arc<Endpoint>,
    /// Whether it has a place of the application's limit, which it then gives back.
    placed: bool,
}

/// A connection to send a request on.
pub(super) struct Leased {
    pub(super) lease: Lease,
    /// How long it had been idle; None for a new one, zero for one that others use too.
    pub(super) idle: Option<Duration>,
    /// Whether it was not there at once.
    pub(super) waited: bool,
    /// Whether another endpoint was tried before.
    pub(super) second: bool,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Unreachable {
    #[error("{address}: no connection within {after:?}")]
    TimedOut { address: String, after: Duration },
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
    #[error("it has as many requests as it may have")]
    Full,
}

impl Endpoint {
    pub(super) fn new(backend: &Arc<Backend>, vitals: &Arc<Vitals>, drivers: TaskTracker) -> Arc<Self> {
        Arc::new(Self {
            backend: Arc::clone(backend),
            vitals: Arc::clone(vitals),
            idle: Mutex::new(Vec::new()),
            multiplexed: Multiplexed::default(),
            in_flight: AtomicUsize::new(0),
            latency: Latency::new(Instant::now()),
            drivers,
        })
    }

    pub(super) fn is_of(&self, vitals: &Arc<Vitals>) -> bool {
        Arc::ptr_eq(&self.vitals, vitals)
    }

    pub(super) fn is_well(&self) -> bool {
        self.vitals.is_well()
    }

    /// What one more request would cost.
    pub(super) fn cost(&self) -> f64 {
        self.latency.cost(self.in_flight.load(Ordering::Relaxed))
    }

    /// A connection, idle or new. `place` goes with it.
    pub(super) async fn lease(
        self: &Arc<Self>,
        place: &mut Option<Place<'_>>,
    ) -> Result<Leased, Unreachable> {
        if self.backend.rule.protocol == Protocol::Http2 {
            return match self.multiplexed.stream() {
                Some(stream) => Ok(self.shared(stream, place)),
                None => Box::pin(self.connect_shared(place)).await,
            };
        }
        while let Some(Idle { mut connection, since }) = self.take_idle() {
            let idle = since.elapsed();
            if idle >= IDLE {
                continue;
            }
            // Its driver may be a step behind, and says so when it is ready or gone. One that takes longer is still
            // sending a body that nobody reads.
            let sender = &mut connection.sender;
            if sender.is_ready()
                || Box::pin(timeout(SETTLE, sender.ready())).await.is_ok_and(|ready| ready.is_ok())
            {
                return Ok(Leased {
                    lease: Lease::new(Sender::Http1(connection), self, place),
                    idle: Some(idle),
                    waited: false,
                    second: false,
                });
            }
        }
        // Boxed: rare, and large.
        Box::pin(self.connect(place)).await
    }

    /// A new connection.
    pub(super) async fn connect(
        self: &Arc<Self>,
        place: &mut Option<Place<'_>>,
    ) -> Result<Leased, Unreachable> {
        let stream = self.open().await?;
        let handshake = |source| self.handshake_failed(source);
        let sender = match self.backend.rule.protocol {
            Protocol::Http1 => {
                let stream = TokioIo::new(Small(stream));
                let made = Builder::new().handshake::<_, RequestBody>(stream).await;
                let (sender, connection) = made.map_err(handshake)?;
                self.drivers.spawn(async move {
                    // How it ends is told to the request that uses it, if there is one.
                    let _ = connection.with_upgrades().await;
                });
                Sender::Http1(Connection { sender, alarm: Alarm::new(self.backend.rule.timeout) })
            }
            Protocol::Http2 => {
                Sender::Http2(self.multiplexed.connect(stream, &self.drivers).await.map_err(handshake)?)
            }
        };
        Ok(Leased { lease: Lease::new(sender, self, place), idle: None, waited: true, second: false })
    }

    /// A stream of a connection that somebody has made meanwhile, or of a new one.
    async fn connect_shared(self: &Arc<Self>, place: &mut Option<Place<'_>>) -> Result<Leased, Unreachable> {
        let after = self.backend.rule.connect_timeout;
        // Not one after the other, where nobody takes connections.
        let Ok(_making) = timeout(after, self.multiplexed.making.lock()).await else {
            return Err(Unreachable::TimedOut { address: self.vitals.address.clone(), after });
        };
        match self.multiplexed.stream() {
            Some(stream) => Ok(Leased { waited: true, ..self.shared(stream, place) }),
            None => self.connect(place).await,
        }
    }

    fn shared(self: &Arc<Self>, stream: Stream, place: &mut Option<Place<'_>>) -> Leased {
        Leased {
            lease: Lease::new(Sender::Http2(stream), self, place),
            idle: Some(Duration::ZERO),
            waited: false,
            second: false,
        }
    }

    async fn open(&self) -> Result<TcpStream, Unreachable> {
        let (address, after) = (&self.vitals.address, self.backend.rule.connect_timeout);
        let connected = timeout(after, TcpStream::connect(address.as_str())).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            failed => {
                self.backend.failed(&self.vitals, Failed::Unreachable);
                let address = address.clone();
                return Err(match failed {
                    Ok(Err(source)) => Unreachable::Refused { address, source },
                    _ => Unreachable::TimedOut { address, after },
                });
            }
        };
        // Small writes must not wait for acknowledgements; failing to say so costs speed only.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    fn handshake_failed(&self, source: hyper::Error) -> Unreachable {
        Unreachable::Handshake { address: self.vitals.address.clone(), source }
    }

    /// Closes connections that have been idle for too long, and forgets a little.
    pub(super) fn sweep(&self, now: Instant) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).retain(|idle| {
            now.saturating_duration_since(idle.since) < IDLE && !idle.connection.sender.is_closed()
        });
        self.multiplexed.sweep(now, IDLE);
        self.latency.fade(now);
    }

    #[cfg(test)]
    pub(super) fn latency_for_test(&self, time: Duration, now: Instant) {
        self.latency.took(time, now);
    }

    #[cfg(test)]
    pub(super) fn busy_for_test(&self, in_flight: usize) {
        self.in_flight.store(in_flight, Ordering::Relaxed);
    }

    /// The one used last: the others can grow old.
    fn take_idle(&self) -> Option<Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

impl Lease {
    fn new(sender: Sender, endpoint: &Arc<Endpoint>, place: &mut Option<Place<'_>>) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        let placed = place.take().map(Place::keep).is_some();
        Self { sender: Some(sender), endpoint: Arc::clone(endpoint), placed }
    }

    /// Sends a request. None cannot be: only what was given back has nothing to send on.
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Option<impl Future<Output = Sent> + use<>> {
        Some(match self.sender.as_mut()? {
            Sender::Http1(connection) => Either::Left(connection.sender.try_send_request(request)),
            Sender::Http2(stream) => Either::Right(stream.sender.try_send_request(request)),
        })
    }

    /// What was sent has come to; None once it is `deadline`, which is as far from the sending as the rule says.
    pub(super) async fn wait<F: Future>(
        &mut self,
        deadline: Instant,
        sent: Pin<&mut F>,
    ) -> Option<F::Output> {
        match &mut self.sender {
            Some(Sender::Http1(connection)) => connection.alarm.wait(deadline, sent).await,
            // Of one that many use there is no alarm for each. Boxed, so that the others stay small.
            _ => Box::pin(timeout_at(deadline, sent)).await.ok(),
        }
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The application answered. `begun` is when it was asked, where that is of interest.
    pub(super) fn answered(&self, begun: Option<Instant>) {
        self.endpoint.vitals.answered();
        self.took(begun);
    }

    /// The application did not answer, or broke off.
    pub(super) fn failed(&self, begun: Option<Instant>) {
        self.endpoint.backend.failed(&self.endpoint.vitals, Failed::Unanswered);
        self.took(begun);
    }

    fn took(&self, begun: Option<Instant>) {
        if let Some(begun) = begun {
            let now = Instant::now();
            self.endpoint.latency.took(now.saturating_duration_since(begun), now);
        }
    }

    /// Takes its place away, for another attempt.
    pub(super) fn vacate<'a>(&mut self, backend: &'a Backend) -> Option<Place<'a>> {
        std::mem::take(&mut self.placed).then(|| Place::kept(&backend.limit))
    }

    /// For the next request, once this one's answer has come in full.
    pub(super) fn give_back(mut self) {
        let Some(Sender::Http1(connection)) = self.sender.take() else { return };
        if connection.sender.is_closed() {
            return;
        }
        let mut idle = self.endpoint.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.placed {
            self.endpoint.backend.limit.leave();
        }
    }
}
