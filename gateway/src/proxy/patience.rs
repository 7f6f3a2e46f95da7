//! How long an HTTP/2 connection may do nothing of use. hyper only asks whether its peer is alive, and a peer that says
//! so can be any client that holds a place.
//!
//! As with HTTP/1 no timer is set for a request: the timer fires seldom, and looks whether anything happened since.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::http1::Timeouts;

/// How long a client that was told to go may take to do so, where it has no stream open.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a connection's parts tell its timer.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// The number of the header block that has begun and not ended; 0: none.
    block: AtomicU64,
    /// Requests of which the head was complete.
    begun: AtomicU64,
    /// Those that are not answered in full.
    open: AtomicU64,
}

impl Signs {
    pub(super) fn within_block(&self, block: Option<u64>) {
        self.block.store(block.unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn request(self: &Arc<Self>) -> Open {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }
}

/// A stream is open while this is there.
#[derive(Debug)]
pub(super) struct Open(Arc<Signs>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, and its stream with it.
#[derive(Debug)]
pub(super) struct Counted<B> {
    body: B,
    _open: Open,
}

impl<B> Counted<B> {
    pub(super) fn new(body: B, open: Open) -> Self {
        Self { body, _open: open }
    }
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection's timer.
#[derive(Debug)]
pub(super) struct Patience {
    timeouts: Timeouts,
    signs: Arc<Signs>,
    timer: Pin<Box<Sleep>>,
    waiting: Waiting,
    /// For the header block of this number.
    block: u64,
    block_timer: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    FirstRequest,
    /// So many had begun when it was last looked.
    AnotherRequest {
        begun: u64,
    },
    Farewell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stay,
    /// The client is to be told to go.
    Leave,
    /// There is no more waiting for it.
    Cut,
}

impl Patience {
    /// Begins now.
    pub(super) fn new(timeouts: Timeouts, signs: Arc<Signs>) -> Self {
        Self {
            timeouts,
            signs,
            timer: Box::pin(sleep(timeouts.head)),
            waiting: Waiting::FirstRequest,
            block: 0,
            block_timer: Box::pin(sleep(timeouts.head)),
        }
    }

    /// The client has been told to go.
    pub(super) fn leaving(&mut self) {
        self.wait(Waiting::Farewell, FAREWELL);
    }

    fn wait(&mut self, waiting: Waiting, time: Duration) {
        self.waiting = waiting;
        self.timer.as_mut().reset(Instant::now() + time);
    }

    /// Whether to go on. Asked each time that the connection has done what it could.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Verdict {
        let block = self.signs.block.load(Ordering::Relaxed);
        if block != 0 {
            if block != self.block {
                self.block = block;
                self.block_timer.as_mut().reset(Instant::now() + self.timeouts.head);
            }
            if self.block_timer.as_mut().poll(cx).is_ready() {
                return Verdict::Cut;
            }
        }
        let mut verdict = Verdict::Stay;
        while self.timer.as_mut().poll(cx).is_ready() {
            let begun = self.signs.begun.load(Ordering::Relaxed);
            let idle = self.signs.open.load(Ordering::Relaxed) == 0;
            match self.waiting {
                Waiting::Farewell if idle => return Verdict::Cut,
                Waiting::Farewell => self.leaving(),
                Waiting::FirstRequest if begun == 0 => verdict = Verdict::Leave,
                Waiting::AnotherRequest { begun: before } if idle && begun == before => {
                    verdict = Verdict::Leave;
                }
                _ => self.wait(Waiting::AnotherRequest { begun }, self.timeouts.idle),
            }
            if verdict == Verdict::Leave {
                self.leaving();
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const TIMEOUTS: Timeouts = Timeouts { head: Duration::from_secs(10), idle: Duration::from_secs(60) };

    /// What it comes to, and when.
    async fn verdict(patience: &mut Patience) -> (Verdict, u64) {
        let begun = Instant::now();
        let verdict = poll_fn(|cx| match patience.poll(cx) {
            Verdict::Stay => Poll::Pending,
            verdict => Poll::Ready(verdict),
        });
        (verdict.await, begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_nothing_is_told_to_go_and_then_cut_off() {
        let mut patience = Patience::new(TIMEOUTS, Arc::default());
        assert_eq!(verdict(&mut patience).await, (Verdict::Leave, 10));
        assert_eq!(verdict(&mut patience).await, (Verdict::Cut, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_has_no_stream_open_is_idle() {
        let signs = Arc::<Signs>::default();
        let mut patience = Patience::new(TIMEOUTS, Arc::clone(&signs));
        let open = signs.request();
        let long = tokio::time::timeout(Duration::from_secs(3600), verdict(&mut patience)).await;
        assert!(long.is_err(), "an open stream was not waited for");
        drop(open);
        let (told, after) = verdict(&mut patience).await;
        assert_eq!(told, Verdict::Leave);
        assert!(after <= 60, "{after}");

        let _late = signs.request();
        let long = tokio::time::timeout(Duration::from_secs(3600), verdict(&mut patience)).await;
        assert!(long.is_err(), "a stream that came with the farewell was cut off");
    }

    #[tokio::test(start_paused = true)]
    async fn each_header_block_has_its_own_time() {
        let signs = Arc::<Signs>::default();
        let mut patience = Patience::new(TIMEOUTS, Arc::clone(&signs));
        let _open = signs.request();
        for block in 1..5 {
            signs.within_block(Some(block));
            let in_time = tokio::time::timeout(Duration::from_secs(9), verdict(&mut patience)).await;
            assert!(in_time.is_err(), "block {block}");
            signs.within_block(None);
            let between = tokio::time::timeout(Duration::from_secs(30), verdict(&mut patience)).await;
            assert!(between.is_err(), "behind block {block}");
        }
        signs.within_block(Some(5));
        assert_eq!(verdict(&mut patience).await, (Verdict::Cut, 10));
    }
}
