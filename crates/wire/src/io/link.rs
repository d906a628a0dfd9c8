//! One HTTP/1 connection as bytes: what is unread, what is unsent, and the socket.
//!
//! A link is used through `&self`, because a request body flows out of it while
//! the response flows in; all borrows end within one poll.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Buffers, Stream, buffers::SCRATCH_BYTES};
use crate::{h1::Refusal, upstream::Berth};

/// Bytes gathered before they are written, when more may follow at once.
const GATHER_BYTES: usize = 16 << 10;
/// Pieces from this size on are written from where they are.
const LARGE_BYTES: usize = 4 << 10;
/// From this size on, what is left of a read is kept where it is, and not copied: a quarter of
/// the scratch that the connection then holds.
const KEPT_BYTES: usize = SCRATCH_BYTES / 4;

/// Why nothing more can be read from, or written to, a link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The other side ended the connection; `partial` says whether in the middle of something.
    #[error("the connection was closed")]
    Ended {
        /// Whether bytes of something unfinished had arrived.
        partial: bool,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The other side sent something that is no HTTP.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A connection with what is unread and unsent on it.
#[derive(Debug)]
pub struct Link {
    io: RefCell<Io>,
    buffers: Rc<Buffers>,
    _berth: Option<Berth>,
}

#[derive(Debug)]
struct Io {
    stream: Stream,
    /// Only a part of it is unread, all of it is initialised.
    unread: Vec<u8>,
    unread_from: usize,
    unread_to: usize,
    /// Unread bytes that a parser has seen and found too few.
    seen: usize,
    unsent: Vec<u8>,
    unsent_from: usize,
}

impl Link {
    /// A link over a fresh stream.
    #[must_use]
    pub fn new(stream: Stream, buffers: Rc<Buffers>) -> Self {
        let io = Io {
            stream,
            unread: Vec::new(),
            unread_from: 0,
            unread_to: 0,
            seen: 0,
            unsent: Vec::new(),
            unsent_from: 0,
        };
        Self {
            io: RefCell::new(io),
            buffers,
            _berth: None,
        }
    }

    /// The link to an instance, which is counted while it is open.
    #[must_use]
    pub fn at(self, berth: Berth) -> Self {
        Self {
            _berth: Some(berth),
            ..self
        }
    }

    /// A link that begins with bytes which were read before.
    #[must_use]
    pub fn with_unread(stream: Stream, unread: Vec<u8>, buffers: Rc<Buffers>) -> Self {
        let link = Self::new(stream, buffers);
        let mut io = link.io.borrow_mut();
        (io.unread_to, io.unread) = (unread.len(), unread);
        drop(io);
        link
    }

    /// Takes the link apart into its stream and what is unread.
    #[must_use]
    pub fn into_parts(self) -> (Stream, Vec<u8>) {
        let mut io = self.io.into_inner();
        io.unread.truncate(io.unread_to);
        io.unread.drain(..io.unread_from);
        (io.stream, io.unread)
    }

    /// Looks at the stream.
    pub fn with_stream<T>(&self, look: impl FnOnce(&Stream) -> T) -> T {
        look(&self.io.borrow().stream)
    }

    /// Whether bytes were read that nobody has used.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        let io = self.io.borrow();
        io.unread_to > io.unread_from
    }

    /// Lets `parse` look at what is unread, reading more until it has enough. It answers with a
    /// value and how many bytes it used up, or `None` for more.
    ///
    /// # Errors
    /// [`LinkError`]: the end, a broken connection, or what `parse` refused.
    pub fn poll_parse<T>(
        &self,
        cx: &mut Context<'_>,
        mut parse: impl FnMut(&[u8]) -> Result<Option<(T, usize)>, Refusal>,
    ) -> Poll<Result<T, LinkError>> {
        let io = &mut *self.io.borrow_mut();
        if io.unread().len() > io.seen
            && let Some(value) = io.parse_unread(&self.buffers, &mut parse)?
        {
            return Poll::Ready(Ok(value));
        }
        let scratch = &mut *self.buffers.scratch.borrow_mut();
        loop {
            let mut buffer = ReadBuf::new(scratch);
            let read = ready!(Pin::new(&mut io.stream).poll_read(cx, &mut buffer));
            read.map_err(LinkError::Broken)?;
            let fresh = buffer.filled();
            if fresh.is_empty() {
                let partial = !io.unread().is_empty();
                return Poll::Ready(Err(LinkError::Ended { partial }));
            }
            if !io.unread().is_empty() {
                io.keep(fresh, &self.buffers);
                if let Some(value) = io.parse_unread(&self.buffers, &mut parse)? {
                    return Poll::Ready(Ok(value));
                }
            } else if let Some((value, used)) = parse(fresh)? {
                let read = fresh.len();
                if read.saturating_sub(used) < KEPT_BYTES {
                    io.keep(fresh.get(used..).unwrap_or_default(), &self.buffers);
                } else {
                    io.unread = std::mem::replace(scratch, self.buffers.take_scratch());
                    (io.unread_from, io.unread_to) = (used, read);
                }
                return Poll::Ready(Ok(value));
            } else {
                io.keep(fresh, &self.buffers);
                io.seen = fresh.len();
            }
        }
    }

    /// Ready when the other side has closed or broken the connection. Bytes that come instead
    /// are kept, up to `unread_max`; beyond that this is pending without looking.
    pub fn poll_gone(&self, cx: &mut Context<'_>, unread_max: usize) -> Poll<()> {
        let io = &mut *self.io.borrow_mut();
        let scratch = &mut *self.buffers.scratch.borrow_mut();
        while io.unread().len() < unread_max {
            let room = unread_max
                .saturating_sub(io.unread().len())
                .min(scratch.len());
            let Some(room) = scratch.get_mut(..room) else {
                return Poll::Pending;
            };
            let mut buffer = ReadBuf::new(room);
            let read = ready!(Pin::new(&mut io.stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
            io.keep(buffer.filled(), &self.buffers);
        }
        Poll::Pending
    }

    /// Puts bytes behind what is unsent, made by `write`. Nothing goes out yet.
    pub fn gather(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let io = &mut *self.io.borrow_mut();
        if io.unsent.capacity() == 0 {
            io.unsent = self.buffers.take();
        }
        write(&mut io.unsent);
    }

    /// Sends `parts` behind what is unsent. Small parts wait for [`Self::poll_flush`]; of large
    /// ones only what the socket does not take is copied.
    ///
    /// # Errors
    /// [`LinkError::Broken`].
    pub fn push(&self, cx: &mut Context<'_>, parts: [&[u8]; 3]) -> Result<(), LinkError> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let gathered = self.io.borrow().unsent().len().saturating_add(bytes);
        if bytes < LARGE_BYTES && gathered <= GATHER_BYTES {
            self.gather(|unsent| parts.iter().for_each(|part| unsent.extend_from_slice(part)));
            return Ok(());
        }
        let io = &mut *self.io.borrow_mut();
        let rest = io.poll_send(cx, parts)?;
        if rest.iter().any(|part| !part.is_empty()) {
            if io.unsent.capacity() == 0 {
                io.unsent = self.buffers.take();
            }
            for part in &rest {
                io.unsent.extend_from_slice(part);
            }
        }
        Ok(())
    }

    /// Ready when nothing is unsent.
    ///
    /// # Errors
    /// [`LinkError::Broken`].
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        let io = &mut *self.io.borrow_mut();
        io.poll_send(cx, [&[]; 3])?;
        if !io.unsent().is_empty() {
            return Poll::Pending;
        }
        Pin::new(&mut io.stream)
            .poll_flush(cx)
            .map_err(LinkError::Broken)
    }

    /// Whether the socket did not take everything so far.
    #[must_use]
    pub fn is_backed_up(&self) -> bool {
        self.io.borrow().unsent().len() > GATHER_BYTES
    }

    /// Sends everything and then the end of the stream.
    ///
    /// # Errors
    /// [`LinkError::Broken`].
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        ready!(self.poll_flush(cx))?;
        let io = &mut *self.io.borrow_mut();
        Pin::new(&mut io.stream)
            .poll_shutdown(cx)
            .map_err(LinkError::Broken)
    }

    /// Gives buffers back that an idle connection does not need.
    pub fn rest(&self) {
        let io = &mut *self.io.borrow_mut();
        if io.unread().is_empty() {
            self.buffers.give(std::mem::take(&mut io.unread));
            (io.unread_from, io.unread_to, io.seen) = (0, 0, 0);
        }
        if io.unsent().is_empty() {
            self.buffers.give(std::mem::take(&mut io.unsent));
            io.unsent_from = 0;
        }
    }
}

impl Io {
    fn unread(&self) -> &[u8] {
        let unread = self.unread.get(self.unread_from..self.unread_to);
        unread.unwrap_or_default()
    }

    fn unsent(&self) -> &[u8] {
        self.unsent.get(self.unsent_from..).unwrap_or_default()
    }

    fn keep(&mut self, fresh: &[u8], buffers: &Buffers) {
        if fresh.is_empty() {
            return;
        }
        if self.unread.capacity() == 0 {
            self.unread = buffers.take();
        }
        self.unread.truncate(self.unread_to);
        self.unread.extend_from_slice(fresh);
        self.unread_to = self.unread.len();
    }

    fn parse_unread<T>(
        &mut self,
        buffers: &Buffers,
        parse: &mut impl FnMut(&[u8]) -> Result<Option<(T, usize)>, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        let Some((value, used)) = parse(self.unread())? else {
            self.seen = self.unread().len();
            return Ok(None);
        };
        self.seen = 0;
        self.unread_from = self.unread_from.saturating_add(used);
        if self.unread().is_empty() {
            buffers.give(std::mem::take(&mut self.unread));
            (self.unread_from, self.unread_to) = (0, 0);
        }
        Ok(Some(value))
    }

    /// Writes what is unsent and then `parts`, until the socket is full. Returns the rest of
    /// the parts; what is unsent stays where it is.
    fn poll_send<'a>(
        &mut self,
        cx: &mut Context<'_>,
        mut parts: [&'a [u8]; 3],
    ) -> Result<[&'a [u8]; 3], LinkError> {
        loop {
            let unsent = self.unsent.get(self.unsent_from..).unwrap_or_default();
            let [first, second, third] = parts;
            let slices = [unsent, first, second, third].map(IoSlice::new);
            if slices.iter().all(|slice| slice.is_empty()) {
                self.unsent.clear();
                self.unsent_from = 0;
                return Ok(parts);
            }
            let stream = Pin::new(&mut self.stream);
            let sent = if parts.iter().all(|part| part.is_empty()) {
                stream.poll_write(cx, unsent)
            } else {
                stream.poll_write_vectored(cx, &slices)
            };
            let Poll::Ready(sent) = sent else {
                return Ok(parts);
            };
            let mut sent = sent.map_err(LinkError::Broken)?;
            if sent == 0 {
                return Err(LinkError::Broken(io::ErrorKind::WriteZero.into()));
            }
            let from_unsent = sent.min(unsent.len());
            self.unsent_from = self.unsent_from.saturating_add(from_unsent);
            sent = sent.saturating_sub(from_unsent);
            for part in &mut parts {
                let from_part = sent.min(part.len());
                *part = part.get(from_part..).unwrap_or_default();
                sent = sent.saturating_sub(from_part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// Reads a head of four bytes with so much behind it; the rest is read whole afterwards. Says
    /// whether the scratch that it came in was kept until then.
    async fn is_kept(body: usize) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut far, buffers) = (far.unwrap().0, Buffers::new());
        let link = Link::new(Stream::Plain(near.unwrap()), Rc::clone(&buffers));
        let sent: Vec<u8> = (0..=250).cycle().take(body).collect();
        let whole = [b"head", sent.as_slice()].concat();
        far.write_all(&whole).await.unwrap();
        // All of it is with the system before the first look.
        let peeked = std::future::poll_fn(|cx| {
            let mut room = vec![0; whole.len()];
            let seen = link.with_stream(|stream| {
                let mut room = ReadBuf::new(&mut room);
                stream.socket().poll_peek(cx, &mut room)
            });
            match seen {
                Poll::Ready(Ok(seen)) if seen < whole.len() => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                seen @ (Poll::Ready(_) | Poll::Pending) => seen,
            }
        });
        peeked.await.unwrap();
        let head = std::future::poll_fn(|cx| {
            link.poll_parse(cx, |input| {
                Ok(input.first_chunk::<4>().map(|head| (*head, 4)))
            })
        });
        assert_eq!(&head.await.unwrap(), b"head");
        let is_kept = link.io.borrow().unread.len() == SCRATCH_BYTES;
        let rest = std::future::poll_fn(|cx| {
            link.poll_parse(cx, |input| Ok(Some((input.to_vec(), input.len()))))
        });
        assert_eq!(rest.await.unwrap(), sent);
        assert!(!link.has_unread());
        assert_eq!(buffers.scratch.borrow().len(), SCRATCH_BYTES);
        is_kept
    }

    #[tokio::test]
    async fn what_is_read_with_a_head_is_copied_if_it_is_little() {
        assert!(!is_kept(KEPT_BYTES - 1).await);
        assert!(is_kept(KEPT_BYTES).await);
    }
}
