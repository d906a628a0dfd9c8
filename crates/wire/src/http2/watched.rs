//! The stream below a client's HTTP/2 connection.
//!
//! It gives back what was read too early, and lets `h2` see no frame that breaks a rule
//! of [`Frames`]; then it says goodbye by itself, with the right code.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::frames::{Frames, Violation};
use crate::io::Stream;

/// What `h2` reads and writes.
#[derive(Debug)]
pub struct Watched {
    early: Vec<u8>,
    frames: Frames,
    shared: Rc<Shared>,
}

/// A hold on the stream that outlives the connection on it.
#[derive(Clone, Debug)]
pub struct Goodbye(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Borrowed within one poll.
    stream: RefCell<Stream>,
    /// What the client did wrong, and the newest stream by then.
    violation: Cell<Option<(Reason, u32)>>,
    /// The last write was not taken whole: a frame may be cut in two.
    is_cut: Cell<bool>,
}

impl Watched {
    /// `early` comes first. The other half says goodbye when a rule was broken.
    #[must_use]
    pub fn new(early: Vec<u8>, stream: Stream) -> (Self, Goodbye) {
        let shared = Rc::new(Shared {
            stream: RefCell::new(stream),
            violation: Cell::new(None),
            is_cut: Cell::new(false),
        });
        let watched = Self {
            early,
            frames: Frames::new(),
            shared: Rc::clone(&shared),
        };
        (watched, Goodbye(shared))
    }

    /// Judges what was just read from `from` on; a frame that breaks a rule is taken back.
    fn judge(&mut self, buffer: &mut ReadBuf<'_>, from: usize) -> io::Result<()> {
        let fresh = buffer.filled().get(from..).unwrap_or_default();
        let Err(Violation { reason, at }) = self.frames.look(fresh) else {
            return Ok(());
        };
        self.shared
            .violation
            .set(Some((reason, self.frames.newest())));
        buffer.set_filled(from.saturating_add(at));
        if at == 0 { Err(broken()) } else { Ok(()) }
    }

    fn note(&self, offered: usize, sent: &Poll<io::Result<usize>>) {
        let is_cut = matches!(sent, Poll::Ready(Ok(sent)) if *sent < offered);
        if is_cut || sent.is_ready() {
            self.shared.is_cut.set(is_cut);
        }
    }
}

fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the client broke a rule of HTTP/2",
    )
}

impl Goodbye {
    /// Tells the client which rule it broke, if that is why the connection has ended, and
    /// closes the stream.
    ///
    /// # Cancellation
    /// The client may not be told.
    #[expect(
        clippy::await_holding_refcell_ref,
        reason = "the connection has ended: nobody else uses the stream"
    )]
    pub async fn say(&self) {
        let Some((reason, newest)) = self.0.violation.get() else {
            return;
        };
        let Ok(mut stream) = self.0.stream.try_borrow_mut() else {
            return;
        };
        if !self.0.is_cut.get() {
            let mut goaway = vec![0, 0, 8, 7, 0, 0, 0, 0, 0];
            goaway.extend(newest.to_be_bytes());
            goaway.extend(u32::from(reason).to_be_bytes());
            // A client that is gone need not be told.
            let _told = stream.write_all(&goaway).await;
        }
        let _closed = stream.shutdown().await;
    }

    /// The rule that was broken, for the log.
    #[must_use]
    pub fn violation(&self) -> Option<Reason> {
        self.0.violation.get().map(|(reason, _)| reason)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.shared.violation.get().is_some() {
            return Poll::Ready(Err(broken()));
        }
        let from = buffer.filled().len();
        if self.early.is_empty() {
            let mut stream = self.shared.stream.borrow_mut();
            let read = Pin::new(&mut *stream).poll_read(cx, buffer);
            drop(stream);
            std::task::ready!(read)?;
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
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut *self.shared.stream.borrow_mut()).poll_write(cx, bytes);
        self.note(bytes.len(), &sent);
        sent
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut stream = self.shared.stream.borrow_mut();
        let sent = Pin::new(&mut *stream).poll_write_vectored(cx, parts);
        self.note(parts.iter().map(|part| part.len()).sum(), &sent);
        sent
    }

    fn is_write_vectored(&self) -> bool {
        self.shared.stream.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.shared.stream.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.shared.stream.borrow_mut()).poll_shutdown(cx)
    }
}
