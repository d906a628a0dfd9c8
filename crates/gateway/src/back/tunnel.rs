//! A connection that has changed its protocol: bytes both ways until both ends are done.

use std::{future::poll_fn, task::Poll};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
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

/// What is hashed behind a key to answer it (RFC 6455, section 1.3).
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Joins the client and an instance that answered 101.
pub(super) async fn over_http1(
    attempt: &mut Attempt<'_, '_>,
    link: Box<Link>,
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
    attempt.shape_response(&mut head);
    let mut from_instance = until_close();
    let link = &*link;
    let towards = Outlet::Link {
        link,
        chunked: false,
    };
    let instance = (Inlet::Link(link, &mut from_instance), towards, Some(link));
    run(attempt, head, instance).await
}

/// Joins the client and an instance that answered an extended CONNECT by 200. `key` is the
/// WebSocket key of a client of HTTP/1, which only we can answer.
pub(super) async fn over_http2(
    attempt: &mut Attempt<'_, '_>,
    mut head: ResponseHead,
    (stream, upload): (&mut RecvStream, &mut SendStream<Bytes>),
    key: Option<&[u8]>,
) -> Result<(), Failure> {
    if let Some(key) = key {
        let accept = accept(key);
        // Base64 is letters that a value may have.
        let _set = head.fields.set("sec-websocket-accept", accept.as_bytes());
    }
    attempt.shape_response(&mut head);
    let inlet = Inlet::Stream { stream, room: None };
    run(attempt, head, (inlet, Outlet::Stream(upload), None)).await
}

/// The answer to a WebSocket key (RFC 6455, section 4.2.2).
fn accept(key: &[u8]) -> String {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(ACCEPT_GUID);
    data_encoding::BASE64.encode(hash.finish().as_ref())
}

fn until_close() -> BodyDecoder {
    BodyDecoder::new(Framing::UntilClose, None, &HeadLimits::default())
}

/// Tells the client that the protocol has changed and moves bytes until both sides are done.
async fn run(
    attempt: &mut Attempt<'_, '_>,
    mut head: ResponseHead,
    (inlet, towards, link): (Inlet<'_>, Outlet<'_>, Option<&Link>),
) -> Result<(), Failure> {
    let protocol = attempt.request.upgrade.clone().unwrap_or_default();
    let mut from_client = until_close();
    let idle = attempt.idle();
    let (from, outlet) = match (&mut *attempt.body, &mut *attempt.responder) {
        (RequestBody::Link(client, _), Responder::Link(responder)) => {
            head.status = Status::SWITCHING_PROTOCOLS;
            attempt.tally.answered(head.status);
            let outlet = responder.tunnel(&head, &protocol);
            (Inlet::Link(client, &mut from_client), outlet)
        }
        (RequestBody::Stream { stream, .. }, responder) => {
            // What a 101 is to HTTP/1, a 200 is to an extended CONNECT (RFC 8441, section 5).
            head.status = Status::OK;
            head.fields.remove("sec-websocket-accept");
            attempt.tally.answered(head.status);
            let shape = Shape {
                framing: Framing::Chunked,
                declared: None,
            };
            let outlet = responder.start(&head, shape, Wanted::KeepAlive);
            let from = Inlet::Stream { stream, room: None };
            (from, outlet.map_err(|_| Failure::Gone)?)
        }
        (RequestBody::Link(..), Responder::Stream(_)) => return Err(Failure::Gone),
    };
    let client_link = match &outlet {
        Outlet::Link { link, .. } => Some(*link),
        Outlet::Stream(_) | Outlet::Nowhere => None,
    };
    let up = Relay::new(from, towards, Some((attempt.alarm, idle)));
    let down = Relay::new(inlet, outlet, Some((attempt.alarm, idle)));
    let (received, sent, end) = join(up, down, link, client_link, attempt.alarm).await;
    attempt.tally.outcome.received_bytes += received;
    attempt.tally.outcome.sent_bytes += sent;
    match end {
        // A tunnel has no end of its own: however it ends, the protocol within knows.
        Ok(()) | Err(RelayError::Inlet(_) | RelayError::Outlet(_)) => Ok(()),
        Err(RelayError::Idle) => {
            let words = "nothing moved through the tunnel for too long";
            Err(attempt.fault(Cause::IdleTimeout, words).into())
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_the_standard_shows() {
        // The example of RFC 6455, section 1.3.
        let answer = accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
