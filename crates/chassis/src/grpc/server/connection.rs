//! One connection: handshake, who it is, its calls, its end.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use opentelemetry::metrics::Counter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::door::Door;
use crate::config;
use crate::entropy::{Entropy as _, SystemEntropy};
use crate::grpc::access::MESH;
use crate::lifecycle::Lifecycle;
use crate::tls::Identity;

/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A peer that is gone without a word is noticed after both of these.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What all connections of a server share.
pub(super) struct Connections {
    /// `None` where a mesh secures connections.
    pub(super) acceptor: Option<TlsAcceptor>,
    pub(super) identity: Identity,
    pub(super) door: Arc<Door>,
    pub(super) settings: config::Server,
    pub(super) lifecycle: Lifecycle,
    pub(super) draining: CancellationToken,
    pub(super) open: TaskTracker,
    pub(super) accepted: Counter<u64>,
}

/// Takes care of an accepted connection, without holding up the next.
pub(super) fn begin(shared: &Arc<Connections>, stream: TcpStream, peer: SocketAddr) {
    let connection = shared.clone();
    let token = shared.open.token();
    shared.lifecycle.spawn_work("grpc connection", async move {
        connection.run(stream, peer).await;
        drop(token);
    });
}

impl Connections {
    async fn run(&self, stream: TcpStream, peer: SocketAddr) {
        // Small messages: waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = &self.acceptor else {
            return self.serve(stream, Some(MESH.into())).await;
        };
        let handshake = tokio::select! {
            handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)) => handshake,
            () = self.draining.cancelled() => return,
        };
        match handshake {
            Err(_elapsed) => tracing::info!(%peer, "connection refused: no handshake in time"),
            Ok(Err(error)) => tracing::info!(%peer, %error, "connection refused: handshake failed"),
            Ok(Ok(stream)) => {
                // Once a connection: every call on it is this caller's.
                let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                let name = certificate.and_then(|certificate| self.identity.name_in(certificate));
                if name.is_none() {
                    tracing::info!(%peer, "the certificate names no process of ours: every call will be refused");
                }
                self.serve(stream, name.map(Into::into)).await;
            }
        }
    }

    async fn serve<I>(&self, io: I, caller: Option<Arc<str>>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.accepted.add(1, &[]);
        let service = service_fn(|request| self.door.answer(request, caller.clone()));
        let mut connection = pin!(
            http2::Builder::new(Streams(self.lifecycle.clone()))
                .timer(TokioTimer::new())
                .keep_alive_interval(KEEPALIVE_INTERVAL)
                .keep_alive_timeout(KEEPALIVE_TIMEOUT)
                .max_concurrent_streams(1024)
                .max_header_list_size(16 * 1024)
                .serve_connection(TokioIo::new(io), service)
        );
        let mut draining = pin!(self.draining.cancelled());
        let age = spread(self.settings.max_connection_age);
        let mut leave = pin!(tokio::time::sleep(age));
        let mut cut_off = pin!(tokio::time::sleep(age.saturating_add(self.settings.max_connection_grace)));
        let mut leaving = false;
        loop {
            tokio::select! {
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(error = %crate::status::chain(&error), "connection ended");
                    }
                    return;
                }
                () = &mut draining, if !leaving => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = &mut leave, if !leaving => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = &mut cut_off => return,
            }
        }
    }
}

/// The age, up to a tenth more: connections that were opened together should not all come back together.
fn spread(age: Duration) -> Duration {
    let mut random = [0_u8; 1];
    SystemEntropy.fill(&mut random);
    age.saturating_add(age / 2560 * u32::from(u8::from_ne_bytes(random)))
}

/// Runs each call as work of the life: draining waits for it, and the end cuts it off.
#[derive(Clone)]
struct Streams(Lifecycle);

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn_work("rpc", stream);
    }
}
