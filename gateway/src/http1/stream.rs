//! A client's connection as hyper reads it: only whole heads that passed the scanner, bodies as they come, and in
//! place of a refused head the request that says why.
//!
//! It also keeps the connection's times, without a timer for each request: how long a head may take from its
//! first byte, and how long a connection may idle.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::Refused;
use super::scanner::{Scanned, Scanner, Then};

/// What a refused connection's remaining input is read into, and what partial heads are read through.
const SCRATCH: usize = 4096;
/// What is read after the last answer before the connection is closed over it. Closing with unread input makes the
/// kernel reset the connection, and the client may never see why it was refused (RFC 9112 §9.6).
const LINGER_BYTES: usize = 512 * 1024;
const LINGER: Duration = Duration::from_secs(1);
/// What a client may send ahead while the answer to its upgrade is awaited.
const CROSSING_BYTES: usize = 16 * 1024;

/// How patient a connection is.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a head, from its first byte.
    pub head: Duration,
    /// Without any request. It lasts between one and two of these.
    pub idle: Duration,
}

/// What the requests of a connection tell its stream.
#[derive(Debug, Default)]
pub struct Gate {
    finished: AtomicU64,
    crossing: Mutex<Crossing>,
}

/// What becomes of an upgrade.
#[derive(Debug, Default)]
enum Crossing {
    #[default]
    Undecided,
    /// The stream has nothing to read until it knows.
    Awaited(Waker),
    Decided {
        tunnel: bool,
    },
}

impl Gate {
    /// An answer was given in full, or given up.
    pub fn finished(&self) {
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    /// The request that asked for an upgrade is answered.
    pub fn crossed(&self, tunnel: bool) {
        let before = std::mem::replace(&mut *self.crossing(), Crossing::Decided { tunnel });
        // What was sent ahead is held already: no byte that comes would wake the stream for it.
        if let Crossing::Awaited(waker) = before {
            waker.wake();
        }
    }

    /// Whether it is a tunnel now. None: whoever asks is woken when it is known.
    fn is_tunnel(&self, cx: &Context<'_>) -> Option<bool> {
        let mut crossing = self.crossing();
        if let Crossing::Decided { tunnel } = *crossing {
            *crossing = Crossing::Undecided;
            return Some(tunnel);
        }
        *crossing = Crossing::Awaited(cx.waker().clone());
        None
    }

    fn crossing(&self) -> MutexGuard<'_, Crossing> {
        self.crossing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Strictness around a socket.
#[derive(Debug)]
pub struct Strict<S> {
    inner: S,
    scanner: Scanner,
    gate: Arc<Gate>,
    timeouts: Timeouts,
    /// Bytes read and not yet given to hyper: `sent..clear` may be given, what follows waits for its head's end.
    held: Vec<u8>,
    clear: usize,
    sent: usize,
    end: End,
    timer: Pin<Box<Sleep>>,
    timing: Timing,
    /// Goes up with everything that moves; the idle timer compares it.
    moved: u64,
    closing: Closing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// The marker was given in place of a head.
    Refused,
    /// The body was not what it should have been.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timing {
    Idle { moved: u64 },
    Head,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    Lingering { read: usize },
}

impl<S> Strict<S> {
    /// `first` is what was read of the connection already.
    pub fn new(inner: S, first: &[u8], gate: Arc<Gate>, timeouts: Timeouts) -> Self {
        let mut strict = Self {
            inner,
            scanner: Scanner::default(),
            gate,
            timeouts,
            held: first.to_vec(),
            clear: 0,
            sent: 0,
            end: End::Open,
            timer: Box::pin(sleep(timeouts.idle)),
            timing: Timing::Idle { moved: 0 },
            moved: 0,
            closing: Closing::No,
        };
        strict.scan_held();
        strict
    }

    /// Judges what is held beyond what is cleared.
    fn scan_held(&mut self) {
        let scanned = self.scanner.scan(self.held.get(self.clear..).unwrap_or_default());
        self.clear += scanned.clear;
        self.take(scanned.then);
    }

    /// Acts on what follows the cleared bytes.
    fn take(&mut self, then: Then) {
        match then {
            Then::More if self.held.len() > self.clear => {
                if self.timing != Timing::Head {
                    self.timing = Timing::Head;
                    self.timer.as_mut().reset(Instant::now() + self.timeouts.head);
                }
            }
            Then::More => self.no_head(),
            Then::Crossing => {}
            Then::Refused(refused) => self.refuse(refused),
            Then::Broken => {
                self.held.truncate(self.clear);
                self.end = End::Broken;
            }
        }
    }

    fn no_head(&mut self) {
        if self.timing == Timing::Head {
            // The timer is left to run: when it fires it is set to the idle time.
            self.timing = Timing::Idle { moved: self.moved };
        }
    }

    fn refuse(&mut self, refused: Refused) {
        self.held.truncate(self.clear);
        self.held.extend_from_slice(refused.request());
        self.clear = self.held.len();
        self.end = End::Refused;
        self.no_head();
    }

    /// Gives cleared bytes to hyper. True if there were any.
    fn give(&mut self, to: &mut ReadBuf<'_>) -> bool {
        let ready = self.held.get(self.sent..self.clear).unwrap_or_default();
        let take = ready.len().min(to.remaining());
        let Some(part) = ready.get(..take).filter(|part| !part.is_empty()) else { return false };
        to.put_slice(part);
        self.sent += take;
        if self.sent == self.clear {
            self.held.drain(..self.sent);
            self.sent = 0;
            self.clear = 0;
            if self.held.is_empty() && self.held.capacity() > SCRATCH {
                self.held = Vec::new();
            }
        }
        true
    }
}

impl<S: AsyncRead + Unpin> Strict<S> {
    /// Reads straight into hyper's buffer: the usual case, of whole heads and of bodies. True if hyper has something
    /// now, or the end.
    fn read_through(&mut self, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = to.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, to))?;
        let read = to.filled().get(before..).unwrap_or_default();
        if read.is_empty() {
            return Poll::Ready(Ok(true));
        }
        self.moved = self.moved.wrapping_add(1);
        let Scanned { clear, then } = self.scanner.scan(read);
        if clear == read.len() && then == Then::More {
            return Poll::Ready(Ok(true));
        }
        self.held.extend_from_slice(read.get(clear..).unwrap_or_default());
        to.set_filled(before + clear);
        self.take(then);
        Poll::Ready(Ok(clear > 0))
    }

    /// Reads more of a head that is held. True at the end of input.
    fn read_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut scratch = [0_u8; SCRATCH];
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
        self.held.extend_from_slice(buffer.filled());
        self.moved = self.moved.wrapping_add(1);
        Poll::Ready(Ok(buffer.filled().is_empty()))
    }

    /// After a refusal: what still comes is read and forgotten, so that the answer is not reset away.
    fn discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = [0_u8; SCRATCH];
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Whether time is up. Called where reading had to wait, so that the timer wakes the connection.
    fn time_is_up(&mut self, cx: &mut Context<'_>) -> bool {
        while self.timer.as_mut().poll(cx).is_ready() {
            match self.timing {
                Timing::Head => return true,
                Timing::Idle { moved } => {
                    let idle = self.scanner.is_between()
                        && self.scanner.heads() <= self.gate.finished.load(Ordering::Relaxed);
                    if idle && moved == self.moved {
                        return true;
                    }
                    self.timing = Timing::Idle { moved: self.moved };
                    self.timer.as_mut().reset(Instant::now() + self.timeouts.idle);
                }
            }
        }
        false
    }

    /// One attempt. None: something was judged, look again.
    fn advance(&mut self, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<Option<io::Result<()>>> {
        if self.give(to) {
            return Poll::Ready(Some(Ok(())));
        }
        match self.end {
            End::Open => {}
            End::Broken => return Poll::Ready(Some(Err(io::ErrorKind::InvalidData.into()))),
            End::Refused => {
                // Also at the end of input: hyper would take that for a client gone, and not answer.
                while let Poll::Ready(read) = self.discard(cx) {
                    if read? == 0 {
                        break;
                    }
                }
                return Poll::Pending;
            }
        }
        if self.scanner.is_crossing() {
            match self.gate.is_tunnel(cx) {
                None => return self.wait_for_crossing(cx),
                Some(tunnel) => {
                    self.scanner.crossed(tunnel);
                    if !self.held.is_empty() {
                        self.scan_held();
                        return Poll::Ready(None);
                    }
                }
            }
        }
        if self.held.is_empty() {
            match self.read_through(cx, to) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Some(Ok(()))),
                Poll::Ready(Ok(false)) => return Poll::Ready(None),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                // An idle connection whose time is up ends as if the client had ended it.
                Poll::Pending if self.time_is_up(cx) => return Poll::Ready(Some(Ok(()))),
                Poll::Pending => return Poll::Pending,
            }
        }
        match self.read_held(cx) {
            Poll::Ready(Ok(true)) => Poll::Ready(Some(Ok(()))),
            Poll::Ready(Ok(false)) => {
                self.scan_held();
                Poll::Ready(None)
            }
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Pending if self.time_is_up(cx) => {
                self.refuse(Refused::TooSlow);
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// What a client sends before its upgrade is answered is kept for whoever it turns out to be for.
    fn wait_for_crossing(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<()>>> {
        while self.held.len() < CROSSING_BYTES {
            match self.read_held(cx) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Some(Ok(()))),
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some(result) = ready!(this.advance(cx, to)) {
                return Poll::Ready(result);
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.moved = this.moved.wrapping_add(1);
        Pin::new(&mut this.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.moved = this.moved.wrapping_add(1);
        Pin::new(&mut this.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    /// Ends the writing side, then reads for a moment what the client still sends, where it may be sending.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing == Closing::No {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            if !this.scanner.is_within() {
                return Poll::Ready(Ok(()));
            }
            this.closing = Closing::Lingering { read: 0 };
            this.timer.as_mut().reset(Instant::now() + LINGER);
        }
        let Closing::Lingering { mut read } = this.closing else { return Poll::Ready(Ok(())) };
        while read < LINGER_BYTES {
            match this.discard(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(more)) => read += more,
                Poll::Pending => {
                    this.closing = Closing::Lingering { read };
                    return this.timer.as_mut().poll(cx).map(Ok);
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
