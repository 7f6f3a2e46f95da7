//! Connecting to one replica: TCP, mutual TLS, HTTP/2, within one timeout.

use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::endpoint::Place;
use super::link::{Link, Origin};
use super::outgoing::Outgoing;
use crate::lifecycle::Lifecycle;

/// For connecting and the handshakes together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A peer that is gone without a word is noticed after both of these, should its health checks not tell.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// How to secure a connection, and who must be at its other end.
#[derive(Clone)]
pub(super) struct Security {
    pub(super) config: TlsConnector,
    pub(super) name: ServerName<'static>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    Timeout,
    #[error("no connection: {0}")]
    Tcp(#[source] std::io::Error),
    #[error("the handshake failed: {0}")]
    Handshake(#[source] std::io::Error),
    #[error("the other side does not speak HTTP/2: {0}")]
    Http(#[source] hyper::Error),
}

impl ConnectError {
    /// Whether the other side is there and has nobody at this port.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, ConnectError::Tcp(error) if error.kind() == std::io::ErrorKind::ConnectionRefused)
    }
}

pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// What hands calls to the connection. It ends when the connection takes no more of them; calls in flight go on.
pub(super) type Dispatch = http2::Connection<TokioIo<Box<dyn Io>>, Outgoing, Background>;

/// Makes the connections of a channel.
pub(super) struct Connector {
    pub(super) security: Option<Security>,
    pub(super) origin: Origin,
    pub(super) lifecycle: Lifecycle,
}

impl Connector {
    pub(super) async fn connect(&self, place: &Place) -> Result<(Arc<Link>, Dispatch), ConnectError> {
        let attempt = async {
            let tcp =
                TcpStream::connect((place.host.as_str(), place.port)).await.map_err(ConnectError::Tcp)?;
            // Small messages: waiting to fill a segment only delays them.
            let _ = tcp.set_nodelay(true);
            let io: Box<dyn Io> = match &self.security {
                None => Box::new(tcp),
                Some(Security { config, name }) => {
                    Box::new(config.connect(name.clone(), tcp).await.map_err(ConnectError::Handshake)?)
                }
            };
            let cut = CancellationToken::new();
            let background = Background { lifecycle: self.lifecycle.clone(), cut: cut.clone() };
            let (sender, dispatch) = http2::Builder::new(background)
                .timer(TokioTimer::new())
                .keep_alive_interval(KEEPALIVE_INTERVAL)
                .keep_alive_timeout(KEEPALIVE_TIMEOUT)
                .keep_alive_while_idle(true)
                .handshake(TokioIo::new(io))
                .await
                .map_err(ConnectError::Http)?;
            Ok((Arc::new(Link::new(sender, self.origin.clone(), place.clone(), cut)), dispatch))
        };
        tokio::time::timeout(CONNECT_TIMEOUT, attempt).await.unwrap_or(Err(ConnectError::Timeout))
    }
}

/// Runs a connection, and the calls on it, until they are done, the connection is cut or everything must stop.
#[derive(Clone)]
pub(super) struct Background {
    lifecycle: Lifecycle,
    cut: CancellationToken,
}

impl<F> Executor<F> for Background
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let cut = self.cut.clone();
        self.lifecycle.spawn_support_work("connection to a neighbour", async move {
            tokio::select! {
                () = task => {}
                () = cut.cancelled() => {}
            }
        });
    }
}
