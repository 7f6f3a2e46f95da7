//! A limit on the size of each message, read from its length prefix, before a byte of it is kept.
//!
//! tonic has such a limit for each generated service; one that was forgotten would be open to 4 MiB. Here it is one
//! for all.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::{Code, Status};

use crate::status;

/// gRPC's prefix: one byte of flags, four of length.
const PREFIX: usize = 5;

/// A request body whose messages are at most so long.
pub(super) struct MessageLimit<B> {
    inner: B,
    limit: usize,
    messages: Messages,
}

impl<B> MessageLimit<B> {
    pub(super) fn new(inner: B, limit: usize) -> MessageLimit<B> {
        MessageLimit { inner, limit, messages: Messages::default() }
    }
}

/// Where in the sequence of prefixes and messages a stream stands.
#[derive(Debug, Default)]
struct Messages {
    prefix: [u8; PREFIX],
    have: usize,
    /// Bytes of the current message that are still to come.
    left: usize,
}

impl Messages {
    /// Goes on by `data`; `Err` is the length of a message that is longer than `limit`.
    fn pass(&mut self, mut data: &[u8], limit: usize) -> Result<(), usize> {
        while let Some((&first, rest)) = data.split_first() {
            if self.left > 0 {
                let skipped = self.left.min(data.len());
                self.left -= skipped;
                data = data.get(skipped..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.prefix.get_mut(self.have) {
                *place = first;
            }
            self.have += 1;
            data = rest;
            if self.have == PREFIX {
                let [_flags, a, b, c, d] = self.prefix;
                let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                if length > limit {
                    return Err(length);
                }
                (self.have, self.left) = (0, length);
            }
        }
        Ok(())
    }
}

impl<B> Body for MessageLimit<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = match std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(error.into())))),
            None => return Poll::Ready(None),
        };
        if let Some(data) = frame.data_ref()
            && let Err(length) = this.messages.pass(data, this.limit)
        {
            let message = format!("a message of {length} bytes is longer than the limit of {}", this.limit);
            let status = status::refusal(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", message);
            return Poll::Ready(Some(Err(status)));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u32, body: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.extend(std::iter::repeat_n(7, body));
        bytes
    }

    #[test]
    fn only_the_length_of_one_message_counts_however_it_is_cut() {
        let mut stream = Vec::new();
        for length in [10, 0, 9, 10] {
            stream.extend(message(length, length as usize));
        }
        for cut in 1..stream.len() {
            let mut messages = Messages::default();
            for chunk in stream.chunks(cut) {
                messages.pass(chunk, 10).unwrap();
            }
            assert_eq!((messages.have, messages.left), (0, 0), "{cut}");
        }
        let mut messages = Messages::default();
        messages.pass(&message(10, 10), 10).unwrap();
        assert_eq!(messages.pass(&message(11, 0), 10), Err(11), "refused before it comes");
    }
}
