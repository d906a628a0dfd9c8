//! A connection that has changed its protocol: bytes both ways until both ends are done.

use std::{future::poll_fn, task::Poll};

use portolan_model::{
    Cause,
    http::{ResponseHead, Status},
};
use portolan_runtime::Alarm;
use portolan_wire::{
    h1::{BodyDecoder, Framing, HeadLimits, ResponseInfo, Wanted},
    io::{Inlet, Link, Outlet, Relay, RelayError},
};

use super::{Attempt, Failure};
use crate::responder::{RequestBody, Responder, Shape};

/// Joins the client and an instance that answered 101.
pub(super) async fn over_http1(
    attempt: &mut Attempt<'_, '_>,
    link: Link,
    mut head: ResponseHead,
    info: ResponseInfo,
) -> Result<(), Failure> {
    let agreed = match (&attempt.request.upgrade, &info.upgrade) {
        (Some(asked), Some(given)) => asked.eq_ignore_ascii_case(given),
        (Some(_), None) | (None, _) => false,
    };
    if !agreed {
        let words = "the instance changed to a protocol that was not asked for";
        return Err(attempt.fault(Cause::UpgradeFailed, words).into());
    }
    let protocol = attempt.request.upgrade.clone().unwrap_or_default();
    attempt.shape_response(&mut head);
    let limits = HeadLimits::default();
    let mut from_client = BodyDecoder::new(Framing::UntilClose, None, &limits);
    let mut from_instance = BodyDecoder::new(Framing::UntilClose, None, &limits);
    let idle = attempt.idle();
    let (inlet, outlet) = match (&mut *attempt.body, &mut *attempt.responder) {
        (RequestBody::Link(client, _), Responder::Link(responder)) => {
            attempt.tally.answered(Status::SWITCHING_PROTOCOLS);
            let outlet = responder.tunnel(&head, &protocol);
            (Inlet::Link(client, &mut from_client), outlet)
        }
        (RequestBody::Stream { stream, .. }, responder) => {
            // What a 101 is to HTTP/1, a 200 is to an extended CONNECT (RFC 8441, section 5).
            head.status = Status::OK;
            head.fields.remove("sec-websocket-accept");
            attempt.tally.answered(Status::OK);
            let shape = Shape {
                framing: Framing::Chunked,
                declared: None,
            };
            let outlet = responder.start(&head, shape, Wanted::KeepAlive);
            (
                Inlet::Stream { stream, room: None },
                outlet.map_err(|_| Failure::Gone)?,
            )
        }
        (RequestBody::Link(..), Responder::Stream(_)) => return Err(Failure::Gone),
    };
    let client_link = match &outlet {
        Outlet::Link { link, .. } => Some(*link),
        Outlet::Stream(_) | Outlet::Nowhere => None,
    };
    let up = Relay::new(
        inlet,
        Outlet::Link {
            link: &link,
            chunked: false,
        },
        Some((attempt.alarm, idle)),
    );
    let down = Relay::new(
        Inlet::Link(&link, &mut from_instance),
        outlet,
        Some((attempt.alarm, idle)),
    );
    let (received, sent, end) = join(up, down, Some(&link), client_link, attempt.alarm).await;
    attempt.tally.outcome.received_bytes += received;
    attempt.tally.outcome.sent_bytes += sent;
    match end {
        // A tunnel has no end of its own: however it ends, the protocol within knows.
        Ok(()) | Err(RelayError::Inlet(_) | RelayError::Outlet(_)) => Ok(()),
        Err(RelayError::Idle) => Err(attempt
            .fault(
                Cause::IdleTimeout,
                "nothing moved through the tunnel for too long",
            )
            .into()),
    }
}

/// Moves bytes both ways. The end of one direction is passed on; the other may go on.
async fn join(
    mut up: Relay<'_>,
    mut down: Relay<'_>,
    instance: Option<&Link>,
    client: Option<&Link>,
    alarm: &Alarm,
) -> (u64, u64, Result<(), RelayError>) {
    let (mut up_done, mut down_done) = (false, false);
    let end = poll_fn(|cx| {
        if !up_done {
            match up.poll(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => up_done = true,
                Poll::Pending => {}
            }
        }
        if !down_done {
            match down.poll(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => down_done = true,
                Poll::Pending => {}
            }
        }
        // A half that is closed is closed on the other side as well.
        if up_done && let Some(link) = instance {
            let _closing = link.poll_shutdown(cx);
        }
        if down_done && let Some(link) = client {
            let _closing = link.poll_shutdown(cx);
        }
        if up_done && down_done {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    });
    let end = end.await;
    alarm.clear();
    (up.bytes(), down.bytes(), end)
}
