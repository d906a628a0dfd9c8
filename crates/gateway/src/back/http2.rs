//! One request over a shared HTTP/2 connection to an instance.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::Response;
use portolan_model::{
    Cause,
    http::{Method, ResponseHead, Status},
};
use portolan_runtime::Alarm;
use portolan_wire::{
    h1::{Framing, Wanted},
    http2::{Client, ClientError, Reply, read_response, write_request},
    io::{Inlet, Outlet, Relay, RelayError},
};

use super::{Attempt, Failure, pace::Pace, tunnel};
use crate::responder::{Responder, Shape};

/// How long an instance may take to say whether it takes upgrades.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it is looked whether it has.
const SETTINGS_LOOK: Duration = Duration::from_millis(2);

/// Sends the request and carries the answer back.
pub(crate) async fn exchange(attempt: &mut Attempt<'_, '_>, client: Client) -> Result<(), Failure> {
    let key = as_connect(attempt, &client).await?;
    let (mut reply, mut upload) = send_head(attempt, client).await?;
    let sent_at = attempt.worker.instant();
    let mut head = attempt.worker.take_head();
    let mut is_sent = attempt.request.framing == Framing::None;
    if attempt.request.expects_continue {
        // HTTP/2 has flow control in its place: the instance takes the body when it likes.
        head.status = Status::CONTINUE;
        attempt.responder.interim(&head);
    }
    let (mut stream, declared) = loop {
        let response = await_head(attempt, &mut reply, &mut upload, &mut is_sent).await?;
        let (parts, stream) = response.into_parts();
        head.clear();
        let declared = read_response(&parts, &mut head)
            .map_err(|refusal| attempt.fault(refusal.cause, refusal.detail))?;
        match stream {
            Some(stream) => break (stream, declared),
            None => attempt.responder.interim(&head),
        }
    };
    let first_byte = attempt.worker.instant().saturating_duration_since(sent_at);
    attempt.tally.outcome.timers.first_byte = Some(first_byte);
    attempt.observe(first_byte, head.status);
    if attempt.request.upgrade.is_some() && head.status == Status::OK {
        attempt.alarm.clear();
        let ends = (&mut stream, &mut upload);
        return tunnel::over_http2(attempt, head, ends, key.as_deref()).await;
    }
    attempt.shape_response(&mut head);
    attempt.tally.answered(head.status);
    let framing = framing_of(&attempt.exchange.head.method, &head, &stream, declared);
    let shape = Shape { framing, declared };
    carry_back(attempt, &head, shape, (&mut stream, &mut upload), is_sent).await?;
    attempt.worker.give_head(head);
    Ok(())
}

/// Makes an upgrade what it is in HTTP/2: an extended CONNECT (RFC 8441). The answer is the
/// WebSocket key, which has no place there.
async fn as_connect(
    attempt: &mut Attempt<'_, '_>,
    client: &Client,
) -> Result<Option<Vec<u8>>, Failure> {
    let Some(protocol) = attempt.request.upgrade.clone() else {
        return Ok(None);
    };
    let env = &attempt.worker.shared.env;
    // What the other side allows comes with its first frame.
    let allowed = async {
        while !client.takes_connect() {
            env.sleep(SETTINGS_LOOK).await;
        }
    };
    if env.timeout(SETTINGS_TIMEOUT, allowed).await.is_err() {
        let words = "the instance takes no upgrades over HTTP/2";
        return Err(attempt.fault(Cause::UpgradeFailed, words).into());
    }
    let head = &mut attempt.exchange.head;
    let key = head.fields.get("sec-websocket-key").map(<[u8]>::to_vec);
    head.fields.remove("sec-websocket-key");
    head.method = Method::Connect;
    head.protocol = Some(protocol);
    Ok(key)
}

async fn send_head(
    attempt: &mut Attempt<'_, '_>,
    mut client: Client,
) -> Result<(Reply, SendStream<Bytes>), Failure> {
    let length = match attempt.request.framing {
        Framing::Length(length) => Some(length),
        Framing::None | Framing::Chunked | Framing::UntilClose => None,
    };
    let Some(request) = write_request(&attempt.exchange.head, length) else {
        let words = "the request can't be said in HTTP/2";
        return Err(attempt.fault(Cause::RequestMalformed, words).into());
    };
    let end = attempt.request.framing == Framing::None && attempt.request.upgrade.is_none();
    let sending = client.send(request, end);
    let timeout = attempt.timeouts().connect;
    let sent = attempt.worker.shared.env.timeout(timeout, sending).await;
    match sent {
        Ok(sent) => sent.map_err(|error| failed(attempt, &error, true)),
        Err(_) => Err(attempt
            .fault(Cause::Overloaded, "no stream became free in time")
            .retryable()
            .into()),
    }
}

fn failed(attempt: &Attempt<'_, '_>, error: &ClientError, untouched: bool) -> Failure {
    let words = "the instance broke the stream off";
    let fault = attempt
        .fault(Cause::ConnectionClosed, words)
        .with_detail(error.source.to_string());
    let repeatable = untouched && (error.unsent || attempt.is_repeatable());
    if repeatable {
        fault.retryable().into()
    } else {
        fault.into()
    }
}

/// How waiting for a head ended.
enum Waited {
    Head(Result<Response<Option<RecvStream>>, ClientError>),
    Upload(RelayError),
    Gone,
    TimedOut,
}

/// Sends the request's body and waits for a head, whichever comes first.
async fn await_head(
    attempt: &mut Attempt<'_, '_>,
    reply: &mut Reply,
    upload: &mut SendStream<Bytes>,
    is_sent: &mut bool,
) -> Result<Response<Option<RecvStream>>, Failure> {
    let first_byte = attempt.timeouts().first_byte;
    let alarm = attempt.alarm;
    let mut pace = Pace::new(alarm, attempt.connection.body_timeout(), first_byte);
    let (waited, moved) = {
        let mut relay = Relay::new(attempt.body.inlet(), Outlet::Stream(upload), None);
        let responder = &mut *attempt.responder;
        let waited = poll_fn(|cx| {
            if let Poll::Ready(head) = reply.poll_head(cx) {
                return Poll::Ready(Waited::Head(head));
            }
            if !*is_sent {
                match relay.poll(cx) {
                    Poll::Ready(Ok(())) => {
                        *is_sent = true;
                        pace.done();
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Waited::Upload(error)),
                    Poll::Pending => pace.note(&relay),
                }
            }
            poll_others(cx, responder, *is_sent, alarm)
        })
        .await;
        (waited, relay.bytes())
    };
    attempt.tally.outcome.received_bytes += moved;
    attempt.alarm.clear();
    match waited {
        Waited::Head(Ok(response)) => Ok(response),
        Waited::Head(Err(error)) => {
            let untouched = attempt.tally.outcome.received_bytes == 0;
            Err(failed(attempt, &error, untouched))
        }
        Waited::Upload(error) => Err(attempt.relay_failure(error, true)),
        Waited::Gone => Err(Failure::Gone),
        Waited::TimedOut => Err(pace.fault(attempt).into()),
    }
}

fn poll_others(
    cx: &mut Context<'_>,
    responder: &mut Responder<'_>,
    is_sent: bool,
    alarm: &Alarm,
) -> Poll<Waited> {
    // An interim answer may be what the client waits for before it sends the body.
    if let Poll::Ready(Err(_)) = responder.poll_flush(cx) {
        return Poll::Ready(Waited::Gone);
    }
    // While the body is read, its end shows there.
    if is_sent && responder.poll_gone(cx).is_ready() {
        return Poll::Ready(Waited::Gone);
    }
    alarm.poll_passed(cx).map(|()| Waited::TimedOut)
}

/// Where the answer's body ends for the client.
fn framing_of(
    method: &Method,
    head: &ResponseHead,
    stream: &RecvStream,
    declared: Option<u64>,
) -> Framing {
    if *method == Method::Head || head.status.is_bodyless() || stream.is_end_stream() {
        return Framing::None;
    }
    declared.map_or(Framing::Chunked, Framing::Length)
}

/// Carries the answer's body back while the rest of the request's body still goes out.
async fn carry_back(
    attempt: &mut Attempt<'_, '_>,
    head: &ResponseHead,
    shape: Shape,
    (stream, upload): (&mut RecvStream, &mut SendStream<Bytes>),
    is_sent: bool,
) -> Result<(), Failure> {
    let idle = attempt.idle();
    let failure = {
        let outlet = attempt.responder.start(head, shape, Wanted::KeepAlive);
        let outlet = outlet.map_err(|_| Failure::Gone)?;
        let mut down = Relay::new(
            Inlet::Stream { stream, room: None },
            outlet,
            Some((attempt.alarm, idle)),
        );
        if is_sent {
            down = down.watching();
        }
        let mut up =
            (!is_sent).then(|| Relay::new(attempt.body.inlet(), Outlet::Stream(upload), None));
        let mut received = 0;
        let done = poll_fn(|cx| {
            if let Some(relay) = &mut up
                && relay.poll(cx).is_ready()
            {
                // Whatever became of it: the answer decides how the request ends.
                received = relay.bytes();
                up = None;
            }
            down.poll(cx)
        });
        let done = done.await;
        attempt.tally.outcome.sent_bytes = down.bytes();
        attempt.tally.outcome.received_bytes += received;
        done.err()
    };
    attempt.alarm.clear();
    match failure {
        None => Ok(()),
        Some(error) => {
            upload.send_reset(h2::Reason::CANCEL);
            Err(attempt.relay_failure(error, false))
        }
    }
}
