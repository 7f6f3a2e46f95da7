//! Writing in one piece what is small. For the kernel a vector of pieces costs more than copying a head and a short
//! body together does here.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is copied at most.
const SMALL: usize = 2048;

/// A socket to which heads and short bodies are written.
#[derive(Debug)]
pub struct Small<S>(pub S);

impl<S: AsyncRead + Unpin> AsyncRead for Small<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, to)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Small<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let inner = Pin::new(&mut self.get_mut().0);
        if let [one] = slices {
            return inner.poll_write(cx, one);
        }
        let mut space = [const { MaybeUninit::uninit() }; SMALL];
        let mut whole = ReadBuf::uninit(&mut space);
        for slice in slices {
            if slice.len() > whole.remaining() {
                return inner.poll_write_vectored(cx, slices);
            }
            whole.put_slice(slice);
        }
        inner.poll_write(cx, whole.filled())
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Takes what it is given, at most so many bytes at once, and remembers the pieces.
    struct Socket {
        at_once: usize,
        pieces: Vec<Vec<u8>>,
        vectors: usize,
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.at_once);
            self.pieces.push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.vectors += 1;
            Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn write(at_once: usize, slices: &[&[u8]]) -> (usize, Socket) {
        let mut small = Small(Socket { at_once, pieces: Vec::new(), vectors: 0 });
        let slices: Vec<_> = slices.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let written = poll_fn(|cx| Pin::new(&mut small).poll_write_vectored(cx, &slices)).await.unwrap();
        (written, small.0)
    }

    #[tokio::test]
    async fn head_and_body_go_as_one() {
        let (written, socket) = write(usize::MAX, &[b"head", b"", b"body"]).await;
        assert_eq!((written, socket.vectors), (8, 0));
        assert_eq!(socket.pieces, [b"headbody"]);
    }

    #[tokio::test]
    async fn a_part_may_be_taken() {
        let (written, socket) = write(5, &[b"head", b"body"]).await;
        assert_eq!((written, socket.pieces), (5, vec![b"headb".to_vec()]));
    }

    #[tokio::test]
    async fn what_is_large_is_not_copied() {
        let (written, socket) = write(usize::MAX, &[b"head", &[0; SMALL]]).await;
        assert_eq!((written, socket.vectors), (SMALL + 4, 1));
        let (written, socket) = write(usize::MAX, &[&[0; 2 * SMALL]]).await;
        assert_eq!((written, socket.pieces.len()), (2 * SMALL, 1));
    }
}
