//! An answer's body under the same deadline as its head: a neighbour that stops in the middle is as late as one that
//! never began.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use tonic::Status;

pub(super) struct Bounded {
    inner: Incoming,
    deadline: Instant,
    /// Made when there is something to wait for, which mostly there is not.
    alarm: Option<Pin<Box<Sleep>>>,
    name: Arc<str>,
}

impl Bounded {
    pub(super) fn new(inner: Incoming, deadline: Instant, name: Arc<str>) -> Bounded {
        Bounded { inner, deadline, alarm: None, name }
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_frame(cx) {
            // What a server has to say about a call is in the trailers. An error of the body is the connection's.
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(peer = &*this.name, %error, "an answer broke off");
                Poll::Ready(Some(Err(super::out_of_reach(&this.name))))
            }
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let deadline = this.deadline;
                let alarm = this.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
                match alarm.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(super::too_late(&this.name)))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
