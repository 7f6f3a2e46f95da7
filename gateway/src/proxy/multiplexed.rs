//! One thread's HTTP/2 connections to one endpoint: many requests share each.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::transfer::RequestBody;
use crate::http1::HEAD_BYTES;
use crate::spawner::Spawner;

/// Requests on one connection. The next one gets another connection, also where the application would take it.
const STREAMS: usize = 100;
/// What an answer may send ahead of its reader.
const STREAM_WINDOW: u32 = 128 * 1024;
/// Enough for all streams of a connection: readers that are slow never hold up the others.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// Whether the other side is still there is asked after so much silence, while a request is under way.
const ASK_ALIVE: Duration = Duration::from_secs(20);
const ANSWER_ALIVE: Duration = Duration::from_secs(10);

/// The open connections.
#[derive(Default)]
pub(super) struct Multiplexed {
    open: Mutex<Vec<Shared>>,
    /// Who waits for a connection that is being made does not make another.
    pub(super) making: tokio::sync::Mutex<()>,
}

struct Shared {
    sender: SendRequest<RequestBody>,
    streams: Arc<AtomicUsize>,
    /// So many the application takes at the moment.
    most: Arc<AtomicUsize>,
    /// When it was last seen to be.
    used: Instant,
}

/// One stream of a connection.
pub(super) struct Stream {
    pub(super) sender: SendRequest<RequestBody>,
    streams: Arc<AtomicUsize>,
}

impl Multiplexed {
    /// A stream of an open connection, if there is one with room.
    pub(super) fn stream(&self) -> Option<Stream> {
        self.open().iter_mut().find_map(Shared::stream)
    }

    /// A stream of a new connection.
    pub(super) async fn connect(
        &self,
        socket: TcpStream,
        drivers: &TaskTracker,
    ) -> Result<Stream, hyper::Error> {
        let (sender, connection) = Builder::new(Spawner(drivers.clone()))
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
            .keep_alive_interval(ASK_ALIVE)
            .keep_alive_timeout(ANSWER_ALIVE)
            .handshake::<_, RequestBody>(TokioIo::new(socket))
            .await?;
        let most = Arc::new(AtomicUsize::new(STREAMS));
        let told = Arc::clone(&most);
        let mut connection = Box::pin(connection);
        drivers.spawn(poll_fn(move |cx| {
            // How it ends is told to the requests that use it.
            let polled = connection.as_mut().poll(cx).map(drop);
            told.store(connection.current_max_send_streams(), Ordering::Relaxed);
            polled
        }));
        let stream = Stream { sender: sender.clone(), streams: Arc::new(AtomicUsize::new(1)) };
        let streams = Arc::clone(&stream.streams);
        self.open().push(Shared { sender, streams, most, used: Instant::now() });
        Ok(stream)
    }

    /// Forgets connections that have ended, idle ones but for one, and that one after `most_idle`: nobody asks whether the
    /// other side of an idle one is still there, and servers take it ill if one does.
    pub(super) fn sweep(&self, now: Instant, most_idle: Duration) {
        let mut idle = 0;
        self.open().retain_mut(|shared| {
            let open = !shared.sender.is_closed();
            let busy = shared.streams.load(Ordering::Relaxed) > 0;
            if busy {
                shared.used = now;
            }
            idle += usize::from(open && !busy);
            open && (busy || (idle == 1 && now.saturating_duration_since(shared.used) < most_idle))
        });
    }

    fn open(&self) -> MutexGuard<'_, Vec<Shared>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn stream(&mut self) -> Option<Stream> {
        let most = self.most.load(Ordering::Relaxed).clamp(1, STREAMS);
        if self.sender.is_closed() || self.streams.load(Ordering::Relaxed) >= most {
            return None;
        }
        // By one thread.
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.used = Instant::now();
        Some(Stream { sender: self.sender.clone(), streams: Arc::clone(&self.streams) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
