//! Where a body goes: one set of verbs over both protocols.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use portolan_model::http::Fields;

use super::{Link, LinkError};
use crate::{
    h1::{CHUNK_TAIL, write_chunk_head, write_last_chunk},
    http2::map_from_fields,
};

/// Room asked for before more is read for an HTTP/2 stream.
const STREAM_ROOM_BYTES: usize = 16 << 10;
/// Bytes of a following request that are kept while a body is sent.
pub const PIPELINED_BYTES_MAX: usize = 16 << 10;

/// Where a body goes.
#[derive(Debug)]
pub enum Outlet<'a> {
    /// An HTTP/1 connection; `chunked` or as it is.
    Link {
        /// The connection.
        link: &'a Link,
        /// Whether data goes in chunks.
        chunked: bool,
    },
    /// An HTTP/2 stream.
    Stream(&'a mut SendStream<Bytes>),
    /// Nowhere: counted and dropped.
    Nowhere,
}

/// What failed on one side.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// An HTTP/1 connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// An HTTP/2 stream.
    #[error(transparent)]
    Stream(#[from] h2::Error),
}

impl Outlet<'_> {
    /// Ready when more may be pushed.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, BodyError> {
        match self {
            Self::Nowhere => Ok(Poll::Ready(())),
            Self::Link { link, .. } => {
                if link.is_backed_up() {
                    return Ok(link.poll_flush(cx)?);
                }
                Ok(Poll::Ready(()))
            }
            Self::Stream(stream) => {
                if stream.capacity() > 0 {
                    return Ok(Poll::Ready(()));
                }
                stream.reserve_capacity(STREAM_ROOM_BYTES);
                match stream.poll_capacity(cx) {
                    Poll::Pending => Ok(Poll::Pending),
                    // A stream that is closed for sending says why when it is pushed to.
                    Poll::Ready(Some(Ok(_)) | None) => Ok(Poll::Ready(())),
                    Poll::Ready(Some(Err(error))) => Err(error.into()),
                }
            }
        }
    }

    /// Ready when the other side went away.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Link { link, .. } => link.poll_gone(cx, PIPELINED_BYTES_MAX),
            Self::Stream(stream) => stream.poll_reset(cx).map(|_| ()),
            Self::Nowhere => Poll::Pending,
        }
    }

    /// Whether what is pushed waits in a queue, and is not written by us.
    pub(super) const fn is_queue(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Sends data, and with `is_last` the end with it where the protocol can say so.
    pub(super) fn push(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        is_last: bool,
    ) -> Result<(), BodyError> {
        if data.is_empty() {
            return Ok(());
        }
        match self {
            Self::Link {
                link,
                chunked: false,
            } => Ok(link.push(cx, [data, &[], &[]])?),
            Self::Link {
                link,
                chunked: true,
            } => {
                link.gather(|unsent| write_chunk_head(unsent, data.len()));
                Ok(link.push(cx, [data, CHUNK_TAIL, &[]])?)
            }
            Self::Stream(_) => self.push_shared(cx, Bytes::copy_from_slice(data), is_last),
            Self::Nowhere => Ok(()),
        }
    }

    /// Like [`Self::push`], without a copy where one can be spared.
    pub(super) fn push_shared(
        &mut self,
        cx: &mut Context<'_>,
        data: Bytes,
        is_last: bool,
    ) -> Result<(), BodyError> {
        match self {
            Self::Stream(stream) if !data.is_empty() => {
                stream.send_data(data, is_last)?;
                if is_last {
                    // Nothing may follow, and nothing does.
                    *self = Self::Nowhere;
                }
                Ok(())
            }
            Self::Stream(_) | Self::Link { .. } | Self::Nowhere => self.push(cx, &data, is_last),
        }
    }

    /// Says that the body has ended, unless it was said with the last of its data.
    pub(super) fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), BodyError> {
        match self {
            Self::Nowhere | Self::Link { chunked: false, .. } => Ok(()),
            Self::Link {
                link,
                chunked: true,
            } => {
                let none = Fields::default();
                link.gather(|unsent| write_last_chunk(unsent, trailers.unwrap_or(&none)));
                Ok(())
            }
            Self::Stream(stream) => match trailers {
                Some(trailers) => Ok(stream.send_trailers(map_from_fields(trailers))?),
                None => Ok(stream.send_data(Bytes::new(), true)?),
            },
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, BodyError> {
        match self {
            Self::Link { link, .. } => match link.poll_flush(cx) {
                Poll::Pending => Ok(Poll::Pending),
                Poll::Ready(done) => Ok(Poll::Ready(done?)),
            },
            // The connection's own task sends what a stream has queued.
            Self::Stream(_) | Self::Nowhere => Ok(Poll::Ready(())),
        }
    }
}
