//! Connecting to one endpoint, and remembering for a moment that it did not work.
//!
//! tonic connects anew for each call that finds no connection, one after another. With an endpoint that answers
//! nothing at all, calls that wait in line would each wait a whole connect timeout; so after a failure further
//! attempts fail at once until a short hold is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::endpoint::Endpoint;
use crate::lifecycle::Readiness;

/// For connecting and the handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// After a refusal, which costs nothing: only as long as keeps a herd from hammering.
const HOLD_REFUSED: Duration = Duration::from_millis(100);
/// After a timeout, which costs every caller in line a second.
const HOLD_SILENT: Duration = Duration::from_millis(500);

/// How to secure a connection, and who must be at its other end.
#[derive(Clone)]
pub(super) struct Security {
    pub(super) config: TlsConnector,
    pub(super) name: ServerName<'static>,
}

/// All endpoints of a channel.
pub(super) struct Group {
    members: Vec<Arc<Reach>>,
}

/// Whether an endpoint can be reached, as far as is known.
pub(super) struct Reach {
    epoch: Instant,
    held_until_millis: AtomicU64,
    shared: Arc<Shared>,
    place: usize,
}

struct Shared {
    reachable: Vec<AtomicBool>,
    neighbour: Readiness,
}

impl Group {
    pub(super) fn new(size: usize, neighbour: Readiness) -> Group {
        let epoch = Instant::now();
        let reachable = std::iter::repeat_with(|| AtomicBool::new(false)).take(size).collect();
        let shared = Arc::new(Shared { reachable, neighbour });
        let member = |place| {
            Arc::new(Reach { epoch, held_until_millis: AtomicU64::new(0), shared: shared.clone(), place })
        };
        Group { members: (0..size).map(member).collect() }
    }

    pub(super) fn members(self) -> impl Iterator<Item = Arc<Reach>> {
        self.members.into_iter()
    }
}

impl Reach {
    /// Whether an attempt failed so recently that none is made.
    pub(super) fn is_held(&self) -> bool {
        self.millis() < self.held_until_millis.load(Ordering::Relaxed)
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn reached(&self) {
        self.held_until_millis.store(0, Ordering::Relaxed);
        self.mark(true);
        self.shared.neighbour.ready();
    }

    fn missed(&self, hold: Duration, reason: &ConnectError) {
        let until = self.millis() + u64::try_from(hold.as_millis()).unwrap_or(0);
        self.held_until_millis.store(until, Ordering::Relaxed);
        self.mark(false);
        if !self.shared.reachable.iter().any(|endpoint| endpoint.load(Ordering::Relaxed)) {
            self.shared.neighbour.not_ready(reason.to_string());
        }
    }

    fn mark(&self, reachable: bool) {
        if let Some(mine) = self.shared.reachable.get(self.place) {
            mine.store(reachable, Ordering::Relaxed);
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("no attempt so soon after a failed one")]
    Held,
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    Timeout,
    #[error("no connection: {0}")]
    Tcp(#[source] std::io::Error),
    #[error("the handshake failed: {0}")]
    Handshake(#[source] std::io::Error),
}

pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Makes the connections of one endpoint.
#[derive(Clone)]
pub(super) struct Connector {
    endpoint: Endpoint,
    security: Option<Security>,
    reach: Arc<Reach>,
}

impl Connector {
    pub(super) fn new(endpoint: Endpoint, security: Option<Security>, reach: Arc<Reach>) -> Connector {
        Connector { endpoint, security, reach }
    }

    async fn connect(self) -> Result<TokioIo<Box<dyn Io>>, ConnectError> {
        if self.reach.is_held() {
            return Err(ConnectError::Held);
        }
        let attempt = async {
            let tcp = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port))
                .await
                .map_err(ConnectError::Tcp)?;
            // Small messages: waiting to fill a segment only delays them.
            let _ = tcp.set_nodelay(true);
            let io: Box<dyn Io> = match &self.security {
                None => Box::new(tcp),
                Some(Security { config, name }) => {
                    Box::new(config.connect(name.clone(), tcp).await.map_err(ConnectError::Handshake)?)
                }
            };
            Ok(TokioIo::new(io))
        };
        let connected =
            tokio::time::timeout(CONNECT_TIMEOUT, attempt).await.unwrap_or(Err(ConnectError::Timeout));
        match &connected {
            Ok(_) => self.reach.reached(),
            Err(error @ ConnectError::Timeout) => self.reach.missed(HOLD_SILENT, error),
            Err(error) => self.reach.missed(HOLD_REFUSED, error),
        }
        connected
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}
