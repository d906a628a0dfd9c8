//! The bytes below an HTTP/2 connection: written together, not frame by frame.
//!
//! `h2` writes and flushes after nearly every frame with data, which costs a call to the
//! system each, and under TLS a record each. Once a connection runs, a pipe gathers
//! what is written, and whoever drives the connection sends it when there is
//! nothing else to do. A pipe that is full sends first, so the back-pressure stays.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::io::{Buffers, Stream};

/// Most bytes that wait to be sent.
const GATHERED_BYTES_MAX: usize = 64 << 10;

/// A stream, shared by the connection on it and whoever drives that.
#[derive(Clone, Debug)]
pub(super) struct Pipe(Rc<RefCell<Gathered>>);

#[derive(Debug)]
struct Gathered {
    stream: Stream,
    buffers: Rc<Buffers>,
    unsent: Vec<u8>,
    unsent_from: usize,
    /// Flushing is left to [`Pipe::poll_send`].
    is_gathering: bool,
    /// The last write was not taken whole: a frame may be cut in two.
    is_cut: bool,
}

impl Pipe {
    pub(super) fn new(stream: Stream, buffers: Rc<Buffers>) -> Self {
        Self(Rc::new(RefCell::new(Gathered {
            stream,
            buffers,
            unsent: Vec::new(),
            unsent_from: 0,
            is_gathering: false,
            is_cut: false,
        })))
    }

    /// From here on only a full pipe, its end, and [`Self::poll_send`] send.
    pub(super) fn gather(&self) {
        self.0.borrow_mut().is_gathering = true;
    }

    /// Ready when everything that was written is sent.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_send(cx)
    }

    /// Whether the last frame that was written may be only a part of one.
    pub(super) fn is_cut(&self) -> bool {
        self.0.borrow().is_cut
    }
}

impl Gathered {
    fn unsent(&self) -> &[u8] {
        self.unsent.get(self.unsent_from..).unwrap_or_default()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.unsent().is_empty() {
            let rest = self.unsent.get(self.unsent_from..).unwrap_or_default();
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent_from = self.unsent_from.saturating_add(sent);
        }
        self.unsent_from = 0;
        self.buffers.give(std::mem::take(&mut self.unsent));
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered = parts.iter().map(|part| part.len()).sum();
        if self.unsent().len().saturating_add(offered) > GATHERED_BYTES_MAX {
            ready!(self.poll_send(cx))?;
        }
        if self.unsent.capacity() == 0 {
            self.unsent = self.buffers.take();
        } else if self.unsent.len().saturating_add(offered) > GATHERED_BYTES_MAX {
            // What is sent makes place.
            self.unsent.drain(..self.unsent_from);
            self.unsent_from = 0;
        }
        let mut room = GATHERED_BYTES_MAX;
        for part in parts {
            let taken = part.get(..room.min(part.len())).unwrap_or_default();
            self.unsent.extend_from_slice(taken);
            room = room.saturating_sub(taken.len());
        }
        let taken = GATHERED_BYTES_MAX.min(offered);
        self.is_cut = taken < offered;
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_take(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_take(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gathered = &mut *self.0.borrow_mut();
        if gathered.is_gathering {
            return Poll::Ready(Ok(()));
        }
        gathered.poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gathered = &mut *self.0.borrow_mut();
        ready!(gathered.poll_send(cx))?;
        Pin::new(&mut gathered.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn pipe() -> (Pipe, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let pipe = Pipe::new(Stream::Plain(near.unwrap()), Buffers::new());
        (pipe, far.unwrap().0)
    }

    fn waiting(pipe: &Pipe) -> usize {
        pipe.0.borrow().unsent().len()
    }

    #[tokio::test]
    async fn what_is_written_goes_out_together_when_it_is_sent() {
        let (mut pipe, mut far) = pipe().await;
        pipe.gather();
        for piece in ["one ", "two ", "three"] {
            pipe.write_all(piece.as_bytes()).await.unwrap();
            pipe.flush().await.unwrap();
        }
        assert_eq!(waiting(&pipe), 13);
        std::future::poll_fn(|cx| pipe.poll_send(cx)).await.unwrap();
        assert_eq!(waiting(&pipe), 0);
        let mut seen = [0; 13];
        far.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"one two three");
    }

    #[tokio::test]
    async fn before_it_gathers_a_flush_sends() {
        let (mut pipe, mut far) = pipe().await;
        pipe.write_all(b"settings").await.unwrap();
        pipe.flush().await.unwrap();
        let mut seen = [0; 8];
        far.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"settings");
    }

    #[tokio::test]
    async fn a_full_pipe_sends_before_it_takes_more() {
        let (mut pipe, mut far) = pipe().await;
        pipe.gather();
        let full = vec![b'x'; GATHERED_BYTES_MAX];
        pipe.write_all(&full).await.unwrap();
        assert_eq!(waiting(&pipe), GATHERED_BYTES_MAX);
        let mut seen = vec![0; GATHERED_BYTES_MAX];
        let (written, read) = tokio::join!(pipe.write_all(b"y"), far.read_exact(&mut seen));
        written.unwrap();
        read.unwrap();
        assert_eq!((seen == full, waiting(&pipe)), (true, 1));
        pipe.shutdown().await.unwrap();
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"y");
    }

    #[tokio::test]
    async fn only_a_piece_over_the_limit_is_cut() {
        for (excess, is_cut) in [(0, false), (1, true)] {
            let (mut pipe, _far) = pipe().await;
            pipe.gather();
            let piece = vec![0; GATHERED_BYTES_MAX.saturating_add(excess)];
            let taken = pipe.write(&piece).await.unwrap();
            assert_eq!((taken, pipe.is_cut()), (GATHERED_BYTES_MAX, is_cut));
        }
    }
}
