//! One client connection: which protocol it speaks, and until when.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::blocks::Blocks;
use super::patience::{Counted, Patience, Signs, Verdict};
use super::service::Client;
use super::worker::Thread;
use crate::http1::{Gate, HEAD_BYTES, Small, Strict, Timeouts};
use crate::spawner::Spawner;

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FIRST_READ: usize = 4096;
/// Who connected before the process began to drain may have sent a request by then, read or not.
const ON_ITS_WAY: Duration = Duration::from_millis(250);

/// Serves a connection to its end. Ends early, between two requests, when the process drains.
pub(super) async fn serve(thread: Arc<Thread>, mut stream: TcpStream, peer: SocketAddr) {
    // Answers are written whole; waiting for acknowledgements would only delay them.
    let _ = stream.set_nodelay(true);
    // A client that takes nothing for so long is gone, whatever its kernel says.
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(thread.timeouts.idle));
    let Some(first) = begin(&mut stream, &thread).await else { return };
    if first.starts_with(PREFACE) {
        let client = Arc::new(Client::new(Arc::clone(&thread), None, peer.ip()));
        let signs = Arc::<Signs>::default();
        speak_http2(&thread, client, Prefixed::new(stream, first, Arc::clone(&signs)), signs).await;
    } else {
        let gate = Arc::new(Gate::default());
        let client = Arc::new(Client::new(Arc::clone(&thread), Some(Arc::clone(&gate)), peer.ip()));
        let timeouts = Timeouts { head: thread.timeouts.head, idle: thread.timeouts.idle };
        speak_http1(&thread, client, Strict::new(Small(stream), &first, gate, timeouts)).await;
    }
}

/// The first bytes, enough to tell the protocol. None: there is no more to say to this client.
async fn begin(stream: &mut TcpStream, thread: &Thread) -> Option<Vec<u8>> {
    let mut first = Vec::with_capacity(FIRST_READ);
    let too_late = async {
        tokio::select! {
            () = sleep(thread.timeouts.idle) => {}
            () = async {
                thread.draining.cancelled().await;
                sleep(ON_ITS_WAY).await;
            } => {}
        }
    };
    let read = tokio::select! {
        read = stream.read_buf(&mut first) => read,
        () = too_late => return None,
    };
    if read.ok()? == 0 {
        return None;
    }
    let rest = async {
        while first.len() < PREFACE.len() && PREFACE.starts_with(&first) {
            if stream.read_buf(&mut first).await.ok()? == 0 {
                return None;
            }
        }
        Some(())
    };
    timeout(thread.timeouts.head, rest).await.ok()??;
    Some(first)
}

async fn speak_http1<S>(thread: &Thread, client: Arc<Client>, stream: Strict<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| Arc::clone(&client).answer(request));
    let mut builder = http1::Builder::new();
    // The stream keeps time itself, without a timer for each request.
    builder.header_read_timeout(None);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    drive(&thread.draining, |cx, ending| {
        if ending {
            connection.as_mut().graceful_shutdown();
        }
        // How it ends concerns nobody but the client, who knows.
        connection.as_mut().poll(cx).map(drop)
    })
    .await;
}

async fn speak_http2(thread: &Thread, client: Arc<Client>, stream: Prefixed, signs: Arc<Signs>) {
    let mut patience = Patience::new(thread.timeouts, Arc::clone(&signs));
    let service = service_fn(move |request| {
        let open = signs.request();
        let answer = Arc::clone(&client).answer(request);
        async move { answer.await.map(|response| response.map(|body| Counted::new(body, open))) }
    });
    // Draining waits for streams as it does for connections.
    let mut builder = http2::Builder::new(Spawner(thread.tasks.clone()));
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(thread.timeouts.idle))
        .keep_alive_timeout(thread.timeouts.head);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    drive(&thread.draining, |cx, ending| {
        if ending {
            connection.as_mut().graceful_shutdown();
            patience.leaving();
        }
        while connection.as_mut().poll(cx).is_pending() {
            match patience.poll(cx) {
                Verdict::Stay => return Poll::Pending,
                Verdict::Leave => connection.as_mut().graceful_shutdown(),
                Verdict::Cut => break,
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// Polls a connection to its end, and tells it once when the process begins to drain.
///
/// A token's future takes locks each time that it is polled, which is each time that a byte moves. A task's waker
/// stays the same, so it is enough to leave it there once and to look at the token's flag from then on.
async fn drive(draining: &CancellationToken, mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<()>) {
    let mut signal = std::pin::pin!(draining.cancelled());
    let (mut listening, mut told) = (false, false);
    poll_fn(|cx| {
        if !listening {
            listening = true;
            // The request that has begun comes first: told before it has seen one, a connection closes at once.
            if poll(cx, false).is_ready() {
                return Poll::Ready(());
            }
            told = signal.as_mut().poll(cx).is_ready();
            return if told { poll(cx, true) } else { Poll::Pending };
        }
        let ending = !told && draining.is_cancelled();
        told |= ending;
        // What has come on a connection that was idle comes first, too.
        if ending && poll(cx, false).is_ready() {
            return Poll::Ready(());
        }
        poll(cx, ending)
    })
    .await;
}

/// A stream of which the beginning was read already.
struct Prefixed {
    first: Vec<u8>,
    sent: usize,
    inner: TcpStream,
    blocks: Blocks,
    signs: Arc<Signs>,
}

impl Prefixed {
    fn new(inner: TcpStream, first: Vec<u8>, signs: Arc<Signs>) -> Self {
        let mut prefixed = Self { first: Vec::new(), sent: 0, inner, blocks: Blocks::default(), signs };
        prefixed.came(first.get(PREFACE.len()..).unwrap_or_default());
        Self { first, ..prefixed }
    }

    fn came(&mut self, bytes: &[u8]) {
        self.blocks.pass(bytes);
        self.signs.within_block(self.blocks.within());
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let rest = this.first.get(this.sent..).unwrap_or_default();
        if rest.is_empty() {
            let before = to.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, to))?;
            this.came(to.filled().get(before..).unwrap_or_default());
            return Poll::Ready(Ok(()));
        }
        let part = rest.get(..to.remaining()).unwrap_or(rest);
        to.put_slice(part);
        this.sent += part.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
