//! The stream below a client's HTTP/2 connection.
//!
//! It gives back what was read too early, and lets `h2` see no frame that breaks a rule
//! of [`Frames`]; then it says goodbye by itself, with the right code.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{
    frames::{Frames, Violation},
    pipe::Pipe,
};
use crate::io::{Buffers, Stream};

/// What `h2` reads and writes.
#[derive(Debug)]
pub struct Watched {
    early: Vec<u8>,
    frames: Frames,
    pipe: Pipe,
    violation: Rc<Cell<Option<(Reason, u32)>>>,
}

/// A hold on the stream, which outlives the connection on it.
#[derive(Clone, Debug)]
pub struct Hold {
    pipe: Pipe,
    /// What the client did wrong, and the newest stream by then.
    violation: Rc<Cell<Option<(Reason, u32)>>>,
}

impl Watched {
    /// `early` comes first. The other half sends what was gathered, and says goodbye when a
    /// rule was broken.
    #[must_use]
    pub fn new(early: Vec<u8>, stream: Stream, buffers: Rc<Buffers>) -> (Self, Hold) {
        let pipe = Pipe::new(stream, buffers);
        let violation = Rc::default();
        let watched = Self {
            early,
            frames: Frames::new(),
            pipe: pipe.clone(),
            violation: Rc::clone(&violation),
        };
        (watched, Hold { pipe, violation })
    }

    /// Judges what was just read from `from` on; a frame that breaks a rule is taken back.
    fn judge(&mut self, buffer: &mut ReadBuf<'_>, from: usize) -> io::Result<()> {
        let fresh = buffer.filled().get(from..).unwrap_or_default();
        let Err(Violation { reason, at }) = self.frames.look(fresh) else {
            return Ok(());
        };
        self.violation.set(Some((reason, self.frames.newest())));
        buffer.set_filled(from.saturating_add(at));
        if at == 0 { Err(broken()) } else { Ok(()) }
    }
}

fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the client broke a rule of HTTP/2",
    )
}

impl Hold {
    /// From here on what the connection writes is gathered, until [`Self::poll_send`].
    pub fn gather(&self) {
        self.pipe.gather();
    }

    /// Ready when all that the connection has written is sent. To be polled when the connection
    /// has nothing more to do for now.
    ///
    /// # Errors
    /// The stream's.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_send(cx)
    }

    /// Tells the client which rule it broke, if that is why the connection has ended, and
    /// closes the stream.
    ///
    /// # Cancellation
    /// The client may not be told.
    pub async fn say_goodbye(&self) {
        let Some((reason, newest)) = self.violation.get() else {
            return;
        };
        let mut pipe = self.pipe.clone();
        if !pipe.is_cut() {
            let mut goaway = vec![0, 0, 8, 7, 0, 0, 0, 0, 0];
            goaway.extend(newest.to_be_bytes());
            goaway.extend(u32::from(reason).to_be_bytes());
            // A client that is gone need not be told.
            let _told = pipe.write_all(&goaway).await;
        }
        let _closed = pipe.shutdown().await;
    }

    /// The rule that was broken, for the log.
    #[must_use]
    pub fn violation(&self) -> Option<Reason> {
        self.violation.get().map(|(reason, _)| reason)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.violation.get().is_some() {
            return Poll::Ready(Err(broken()));
        }
        let from = buffer.filled().len();
        if self.early.is_empty() {
            ready!(Pin::new(&mut self.pipe).poll_read(cx, buffer))?;
        } else {
            let bytes = self.early.len().min(buffer.remaining());
            let rest = self.early.split_off(bytes);
            buffer.put_slice(&self.early);
            self.early = rest;
        }
        Poll::Ready(self.judge(buffer, from))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.pipe.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}
