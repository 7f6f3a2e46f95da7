//! A request's body on its way out. One that is there as a whole, as of every unary call, can be sent again.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Body as _, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

/// What is longer than this is sent as it comes, and once.
const WHOLE: usize = 256 * 1024;

pub(super) enum Outgoing {
    Whole(Option<Bytes>),
    /// What was read while looking whether it is whole, then the rest.
    Stream(Option<Bytes>, Body),
}

impl Outgoing {
    /// Takes what is there, without waiting for more.
    pub(super) async fn gather(mut body: Body) -> Result<Outgoing, Status> {
        let mut read = Vec::new();
        let whole = poll_fn(|cx| {
            while read.iter().map(Bytes::len).sum::<usize>() <= WHOLE {
                match Pin::new(&mut body).poll_frame(cx) {
                    // Requests of gRPC have no trailers.
                    Poll::Ready(Some(Ok(frame))) => read.extend(frame.into_data().ok()),
                    Poll::Ready(Some(Err(status))) => return Poll::Ready(Err(status)),
                    Poll::Ready(None) => return Poll::Ready(Ok(true)),
                    Poll::Pending => break,
                }
            }
            Poll::Ready(Ok(false))
        });
        let whole = whole.await?;
        let read = match read.as_slice() {
            // The usual: one frame, not copied.
            [only] => only.clone(),
            parts => parts.concat().into(),
        };
        let read = Some(read).filter(|read| !read.is_empty());
        Ok(if whole { Outgoing::Whole(read) } else { Outgoing::Stream(read, body) })
    }
}

/// The same request once more, if its body is whole.
pub(super) fn copy(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let Outgoing::Whole(bytes) = request.body() else { return None };
    let mut copy = Request::new(Outgoing::Whole(bytes.clone()));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Outgoing::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Outgoing::Stream(read, rest) => match read.take() {
                Some(read) => Poll::Ready(Some(Ok(Frame::data(read)))),
                None => Pin::new(rest).poll_frame(cx),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Whole(bytes) => bytes.is_none(),
            Outgoing::Stream(read, rest) => read.is_none() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Outgoing::Stream(..) => SizeHint::default(),
        }
    }
}
