//! The body of every answer: one concrete type, so that none is boxed and none is copied.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::endpoint::Lease;
use super::transfer::trailers;
use crate::http1::Gate;
use crate::layers::headers;

/// What is answered.
pub(super) struct AnswerBody {
    source: Source,
    /// Told when this is dropped, and so was sent or given up.
    gate: Option<Arc<Gate>>,
}

pub(super) enum Source {
    Empty,
    Whole(Bytes),
    Upstream(Upstream),
    Own(axum::body::Body),
}

/// An application's body, and the connection that it comes over: given back when it has come in full, closed when
/// nobody wants the rest.
pub(super) struct Upstream {
    body: Incoming,
    lease: Option<Lease>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    #[error("the application broke off")]
    Upstream(#[source] hyper::Error),
    #[error("an own endpoint broke off")]
    Own(#[source] axum::Error),
}

impl Upstream {
    pub(super) fn source(body: Incoming, lease: Lease) -> Source {
        if body.is_end_stream() {
            lease.give_back();
            return Source::Empty;
        }
        Source::Upstream(Self { body, lease: Some(lease) })
    }

    fn ended(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl AnswerBody {
    pub(super) fn new(source: Source, gate: Option<Arc<Gate>>) -> Self {
        Self { source, gate }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Some(gate) = &self.gate {
            gate.finished();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        let this = self.get_mut();
        match &mut this.source {
            Source::Empty => Poll::Ready(None),
            Source::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Upstream(upstream) => {
                let frame = ready!(Pin::new(&mut upstream.body).poll_frame(cx));
                match frame {
                    None => {
                        upstream.ended();
                        Poll::Ready(None)
                    }
                    Some(Ok(frame)) => {
                        // Whoever writes this out asks for the end only if it is not known yet.
                        if upstream.body.is_end_stream() {
                            upstream.ended();
                        }
                        if frame.is_data() {
                            return Poll::Ready(Some(Ok(frame)));
                        }
                        Poll::Ready(Some(Ok(trailers(frame, headers::clean_response_trailers))))
                    }
                    Some(Err(error)) => {
                        if let Some(lease) = upstream.lease.take() {
                            lease.failed(None);
                        }
                        Poll::Ready(Some(Err(Interrupted::Upstream(error))))
                    }
                }
            }
            Source::Own(body) => Pin::new(body).poll_frame(cx).map_err(Interrupted::Own),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Upstream(upstream) => upstream.body.is_end_stream(),
            Source::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Upstream(upstream) => upstream.body.size_hint(),
            Source::Own(body) => body.size_hint(),
        }
    }
}
