//! Carries a body from where it comes to where it goes.
//!
//! One loop for every pair of protocols. Nothing is read while the other side
//! does not take what was read before: that is the back-pressure. What arrives
//! in one read leaves in one write.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use portolan_model::{Cause, http::Fields};
use portolan_runtime::Alarm;

use super::{Link, LinkError};
use crate::{
    h1::{BodyDecoder, CHUNK_TAIL, Refusal, write_chunk_head, write_last_chunk},
    http2::{fields_from_map, map_from_fields},
};

/// Room asked for before more is read for an HTTP/2 stream.
const STREAM_ROOM_BYTES: usize = 16 << 10;
/// Bytes of a following request that are kept while a body is sent.
pub const PIPELINED_BYTES_MAX: usize = 16 << 10;

/// Where a body comes from.
#[derive(Debug)]
pub enum Inlet<'a> {
    /// There is none.
    Empty,
    /// Known whole.
    Full(Bytes),
    /// An HTTP/1 connection, or the raw bytes of a tunnel.
    Link(&'a Link, &'a mut BodyDecoder),
    /// An HTTP/2 stream.
    Stream {
        /// The stream.
        stream: &'a mut RecvStream,
        /// Bytes that it may still bring; unlimited if none.
        room: Option<&'a mut u64>,
    },
}

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

/// Why a body did not get across.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The side that it comes from failed.
    #[error("reading the body failed")]
    Inlet(#[source] BodyError),
    /// The side that it goes to failed.
    #[error("writing the body failed")]
    Outlet(#[source] BodyError),
    /// Nothing moved for too long.
    #[error("nothing moved for too long")]
    Idle,
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

/// A body on its way. Drive it with [`Self::poll`] until it is ready.
#[derive(Debug)]
pub struct Relay<'a> {
    inlet: Inlet<'a>,
    outlet: Outlet<'a>,
    idle: Option<(&'a Alarm, Duration)>,
    is_watching: bool,
    phase: Phase,
    bytes: u64,
    /// The last look found nothing to read.
    is_waiting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Data moves.
    Moving,
    /// The inlet has ended; the rest is being sent.
    Flushing,
    /// Everything is sent.
    Done,
}

/// What one look at the inlet brought.
struct Step {
    bytes: usize,
    end: bool,
}

impl<'a> Relay<'a> {
    /// A body that has not begun to move. With `idle`, it fails when nothing moves for so long.
    #[must_use]
    pub fn new(inlet: Inlet<'a>, outlet: Outlet<'a>, idle: Option<(&'a Alarm, Duration)>) -> Self {
        if let Some((alarm, span)) = idle {
            alarm.set(span);
        }
        Self {
            inlet,
            outlet,
            idle,
            is_watching: false,
            phase: Phase::Moving,
            bytes: 0,
            is_waiting: false,
        }
    }

    /// Also fails as soon as the outlet's other side goes away, although there is nothing to
    /// send. Not for a tunnel, whose inlet the other relay reads.
    #[must_use]
    pub const fn watching(mut self) -> Self {
        self.is_watching = true;
        self
    }

    /// Payload bytes that have moved.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is the inlet that keeps everybody waiting, and not the outlet.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Ready when the whole body and its trailers are with the outlet's socket.
    ///
    /// # Errors
    /// [`RelayError`] says which side failed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RelayError>> {
        let progress = self.poll_phases(cx)?;
        if progress.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if self.is_watching && self.outlet.poll_gone(cx).is_ready() {
            let ended = LinkError::Ended { partial: true };
            return Poll::Ready(Err(RelayError::Outlet(ended.into())));
        }
        if let Some((alarm, _)) = self.idle
            && alarm.poll_passed(cx).is_ready()
        {
            return Poll::Ready(Err(RelayError::Idle));
        }
        Poll::Pending
    }

    fn poll_phases(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, RelayError> {
        self.is_waiting = false;
        while self.phase == Phase::Moving {
            if self
                .outlet
                .poll_room(cx)
                .map_err(RelayError::Outlet)?
                .is_pending()
            {
                return Ok(Poll::Pending);
            }
            let Poll::Ready(step) = self.poll_step(cx)? else {
                // The other side has nothing for now: what there is goes out.
                let sent = self.outlet.poll_flush(cx).map_err(RelayError::Outlet)?;
                self.is_waiting = sent.is_ready();
                return Ok(Poll::Pending);
            };
            let Step { bytes, end } = step;
            self.bytes = self.bytes.saturating_add(bytes as u64);
            if let Some((alarm, span)) = self.idle {
                alarm.set(span);
            }
            if end {
                self.phase = Phase::Flushing;
            }
        }
        if self.phase == Phase::Flushing {
            if self
                .outlet
                .poll_flush(cx)
                .map_err(RelayError::Outlet)?
                .is_pending()
            {
                return Ok(Poll::Pending);
            }
            self.phase = Phase::Done;
        }
        Ok(Poll::Ready(()))
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Result<Poll<Step>, RelayError> {
        match &mut self.inlet {
            Inlet::Empty => {
                self.outlet.finish(None).map_err(RelayError::Outlet)?;
                Ok(Poll::Ready(Step {
                    bytes: 0,
                    end: true,
                }))
            }
            Inlet::Full(body) => {
                let body = std::mem::take(body);
                let bytes = body.len();
                self.outlet
                    .push_shared(cx, body)
                    .map_err(RelayError::Outlet)?;
                self.outlet.finish(None).map_err(RelayError::Outlet)?;
                Ok(Poll::Ready(Step { bytes, end: true }))
            }
            Inlet::Link(link, decoder) => poll_link(cx, link, decoder, &mut self.outlet),
            Inlet::Stream { stream, room } => {
                poll_stream(cx, stream, room.as_deref_mut(), &mut self.outlet)
            }
        }
    }
}

fn poll_link(
    cx: &mut Context<'_>,
    link: &Link,
    decoder: &mut BodyDecoder,
    outlet: &mut Outlet<'_>,
) -> Result<Poll<Step>, RelayError> {
    let mut failure = None;
    let mut waker = Context::from_waker(cx.waker());
    let mut bytes = 0;
    let step = if decoder.is_end() {
        Poll::Ready(Ok(()))
    } else {
        link.poll_parse(cx, |input| {
            let mut used = 0usize;
            while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
                let decoded = decoder.decode(rest)?;
                let data = rest.get(decoded.data.clone()).unwrap_or_default();
                bytes += data.len();
                if let Err(error) = outlet.push(&mut waker, data) {
                    failure = Some(error);
                }
                used = used.saturating_add(decoded.consumed);
                if decoded.end || decoded.consumed == 0 || failure.is_some() {
                    break;
                }
            }
            Ok((used > 0).then_some(((), used)))
        })
    };
    if let Some(error) = failure {
        return Err(RelayError::Outlet(error));
    }
    match step {
        Poll::Pending => return Ok(Poll::Pending),
        Poll::Ready(Ok(())) => {}
        Poll::Ready(Err(LinkError::Ended { .. })) => {
            if decoder.finish_at_eof().is_err() {
                return Err(RelayError::Inlet(LinkError::Ended { partial: true }.into()));
            }
            outlet.finish(None).map_err(RelayError::Outlet)?;
            return Ok(Poll::Ready(Step { bytes, end: true }));
        }
        Poll::Ready(Err(error)) => return Err(RelayError::Inlet(error.into())),
    }
    let end = decoder.is_end();
    if end {
        let trailers = Some(decoder.trailers()).filter(|trailers| !trailers.is_empty());
        outlet.finish(trailers).map_err(RelayError::Outlet)?;
    }
    Ok(Poll::Ready(Step { bytes, end }))
}

fn poll_stream(
    cx: &mut Context<'_>,
    stream: &mut RecvStream,
    room: Option<&mut u64>,
    outlet: &mut Outlet<'_>,
) -> Result<Poll<Step>, RelayError> {
    let inlet = |error: h2::Error| RelayError::Inlet(error.into());
    match stream.poll_data(cx) {
        Poll::Pending => Ok(Poll::Pending),
        Poll::Ready(Some(data)) => {
            let data = data.map_err(inlet)?;
            let bytes = data.len();
            take_room(room, bytes)?;
            outlet.push_shared(cx, data).map_err(RelayError::Outlet)?;
            stream
                .flow_control()
                .release_capacity(bytes)
                .map_err(inlet)?;
            // Whether this was all shows at the next poll; `is_end_stream` spares a frame.
            let end = stream.is_end_stream();
            if end {
                outlet.finish(None).map_err(RelayError::Outlet)?;
            }
            Ok(Poll::Ready(Step { bytes, end }))
        }
        Poll::Ready(None) => {
            let Poll::Ready(trailers) = stream.poll_trailers(cx) else {
                return Ok(Poll::Pending);
            };
            let trailers = trailers.map_err(inlet)?.map(|map| fields_from_map(&map));
            outlet
                .finish(trailers.as_ref())
                .map_err(RelayError::Outlet)?;
            Ok(Poll::Ready(Step {
                bytes: 0,
                end: true,
            }))
        }
    }
}

/// Counts bytes off the room that is left for a body.
fn take_room(room: Option<&mut u64>, bytes: usize) -> Result<(), RelayError> {
    let Some(room) = room else { return Ok(()) };
    let Some(rest) = room.checked_sub(bytes as u64) else {
        let refusal = Refusal {
            cause: Cause::BodyTooLarge,
            detail: "the body is over the limit",
        };
        return Err(RelayError::Inlet(LinkError::from(refusal).into()));
    };
    *room = rest;
    Ok(())
}

impl Outlet<'_> {
    /// Ready when more may be pushed.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, BodyError> {
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
                    Poll::Ready(Some(Ok(_))) => Ok(Poll::Ready(())),
                    Poll::Ready(Some(Err(error))) => Err(error.into()),
                    // The stream is closed for sending: a push will say why.
                    Poll::Ready(None) => Ok(Poll::Ready(())),
                }
            }
        }
    }

    /// Ready when the other side went away.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Link { link, .. } => link.poll_gone(cx, PIPELINED_BYTES_MAX),
            Self::Stream(stream) => stream.poll_reset(cx).map(|_| ()),
            Self::Nowhere => Poll::Pending,
        }
    }

    fn push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Result<(), BodyError> {
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
            Self::Stream(stream) => Ok(stream.send_data(Bytes::copy_from_slice(data), false)?),
            Self::Nowhere => Ok(()),
        }
    }

    fn push_shared(&mut self, cx: &mut Context<'_>, data: Bytes) -> Result<(), BodyError> {
        match self {
            Self::Stream(stream) if !data.is_empty() => Ok(stream.send_data(data, false)?),
            Self::Stream(_) | Self::Link { .. } | Self::Nowhere => self.push(cx, &data),
        }
    }

    fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), BodyError> {
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

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, BodyError> {
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
