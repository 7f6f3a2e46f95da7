//! A request's body on its way to whoever wants it: bounded in size, and in how long it may say nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use crate::layers::headers;

/// Why a body broke off before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("the body is too large")]
    TooLarge,
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("the body is not what was announced, or the client is gone")]
    Broken,
}

/// What is known of a body while somebody else reads it.
#[derive(Debug, Default)]
pub(super) struct Transfer {
    frames: AtomicU64,
    fault: AtomicU8,
    answered: AtomicBool,
}

impl Transfer {
    /// Goes up with each part that was passed on.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// The answer has begun. From here on it is between the two of them how long either may say nothing: it may be a
    /// stream both ways.
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        match self.fault.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Fault::TooLarge),
            2 => Some(Fault::TooSlow),
            _ => Some(Fault::Broken),
        }
    }

    fn fail(&self, fault: Fault) -> Fault {
        let code = match fault {
            Fault::TooLarge => 1,
            Fault::TooSlow => 2,
            Fault::Broken => 3,
        };
        self.fault.store(code, Ordering::Relaxed);
        fault
    }
}

/// The body of a request that is passed on.
pub(super) enum RequestBody {
    Empty,
    Streamed(Box<Streamed>),
}

/// Boxed: most requests have none, and this would be moved around with each.
pub(super) struct Streamed {
    body: Incoming,
    left: u64,
    /// Until the answer begins.
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    transfer: Arc<Transfer>,
}

impl RequestBody {
    pub(super) fn new(body: Incoming, limit: u64, patience: Duration) -> (Self, Option<Arc<Transfer>>) {
        if body.is_end_stream() {
            return (Self::Empty, None);
        }
        let transfer = Arc::new(Transfer::default());
        let streamed = Streamed { body, left: limit, patience, timer: None, transfer: Arc::clone(&transfer) };
        (Self::Streamed(Box::new(streamed)), Some(transfer))
    }
}

impl Streamed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.timer = None;
                self.transfer.frames.fetch_add(1, Ordering::Relaxed);
                if let Some(data) = frame.data_ref() {
                    match self.left.checked_sub(data.len() as u64) {
                        Some(left) => self.left = left,
                        None => return Poll::Ready(Some(Err(self.transfer.fail(Fault::TooLarge)))),
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Ok(trailers(frame, headers::clean_request_trailers))))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(self.transfer.fail(Fault::Broken)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if self.transfer.answered.load(Ordering::Relaxed) => {
                self.timer = None;
                Poll::Pending
            }
            Poll::Pending => {
                let patience = self.patience;
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
                match timer.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(self.transfer.fail(Fault::TooSlow)))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Streamed(streamed) => streamed.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Streamed(streamed) => streamed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Streamed(streamed) => streamed.body.size_hint(),
        }
    }
}

/// A frame that is no data, with its fields cleaned.
pub(super) fn trailers(frame: Frame<Bytes>, clean: fn(&mut HeaderMap)) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            clean(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(other) => other,
    }
}

/// Waits for `answer` until `deadline`, and at most `patience` after the request's body has moved: until then the wait
/// has not begun. None: time is up.
pub(super) async fn within<F: Future>(
    answer: F,
    mut deadline: Instant,
    patience: Duration,
    transfer: &Transfer,
) -> Option<F::Output> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let before = transfer.frames();
        match timeout_at(deadline, answer.as_mut()).await {
            Ok(output) => return Some(output),
            Err(_) if transfer.frames() == before => return None,
            Err(_) => deadline = Instant::now() + patience,
        }
    }
}
