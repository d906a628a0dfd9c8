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
use h2::RecvStream;
use portolan_model::Cause;
use portolan_runtime::Alarm;

use super::{BodyError, Link, LinkError, Outlet};
use crate::{
    h1::{BodyDecoder, Refusal},
    http2::fields_from_map,
};

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
            if self.needs_room()
                && self
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

    /// Whether to wait for room before anything is read. What is in memory anyway may as well lie
    /// in the queue of a stream: the rest of an HTTP/1 read, or the first frame of a stream.
    fn needs_room(&self) -> bool {
        let is_at_hand = match &self.inlet {
            Inlet::Empty | Inlet::Full(_) => true,
            Inlet::Link(link, _) => link.has_unread(),
            Inlet::Stream { .. } => self.bytes == 0,
        };
        !(is_at_hand && self.outlet.is_queue())
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
                    .push_shared(cx, body, true)
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
                let part = decoder.decode(rest)?;
                let data = rest.get(part.data.clone()).unwrap_or_default();
                bytes = usize::saturating_add(bytes, data.len());
                // Trailers, if there are any, have come by the time that the end has.
                let is_last = part.end && decoder.trailers().is_empty();
                if let Err(error) = outlet.push(&mut waker, data, is_last) {
                    failure = Some(error);
                }
                used = used.saturating_add(part.consumed);
                if part.end || part.consumed == 0 || failure.is_some() {
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
            // Without trailers, the end may be known by now.
            let end = stream.is_end_stream();
            outlet
                .push_shared(cx, data, end)
                .map_err(RelayError::Outlet)?;
            stream
                .flow_control()
                .release_capacity(bytes)
                .map_err(inlet)?;
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
