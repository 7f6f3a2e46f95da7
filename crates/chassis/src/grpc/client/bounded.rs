//! An answer's body under the same deadline as its head: a neighbour that stops in the middle is as late as one that
//! never began.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

pub(super) struct Bounded {
    inner: Body,
    deadline: Pin<Box<Sleep>>,
    name: Box<str>,
}

impl Bounded {
    pub(super) fn new(inner: Body, deadline: Instant, name: &str) -> Bounded {
        Bounded { inner, deadline: Box::pin(tokio::time::sleep_until(deadline)), name: name.into() }
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
            Poll::Ready(other) => Poll::Ready(other),
            Poll::Pending => match this.deadline.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(super::too_late(&this.name)))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
