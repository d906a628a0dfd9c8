//! One request over an HTTP/1 connection to an instance.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use portolan_model::{
    Cause,
    http::{ResponseHead, Status},
};
use portolan_wire::{
    h1::{
        BodyDecoder, Framing, HeadLimits, Parsed, Persistence, ResponseInfo, Wanted,
        parse_response, write_request,
    },
    io::{Inlet, Link, LinkError, Outlet, Relay},
    upstream::{IDLE_MAX, PoolKey},
};

use super::{Attempt, Failure, pace::Pace, tunnel};
use crate::responder::Shape;

/// Sends the request and carries the answer back.
pub(crate) async fn exchange(
    attempt: &mut Attempt<'_, '_>,
    link: Box<Link>,
    reused: bool,
) -> Result<(), Failure> {
    send_head(attempt, &link);
    let mut head = attempt.worker.take_head();
    let sent_at = attempt.worker.instant();
    let mut upload = Upload {
        moved: 0,
        is_done: false,
    };
    let info = loop {
        let info = await_head(attempt, &link, &mut head, &mut upload, reused).await?;
        if !head.status.is_interim() {
            break info;
        }
        attempt.responder.interim(&head);
        head.clear();
    };
    let first_byte = attempt.worker.instant().saturating_duration_since(sent_at);
    attempt.tally.outcome.timers.first_byte = Some(first_byte);
    attempt.observe(first_byte, head.status);
    attempt.alarm.clear();
    if head.status == Status::SWITCHING_PROTOCOLS {
        return tunnel::over_http1(attempt, link, head, info).await;
    }
    if attempt.request.upgrade.is_some()
        && attempt.responder.is_stream()
        && head.status.class() == 2
    {
        // To an extended CONNECT any 2xx would say that the tunnel is there.
        let words = "the instance did not change the protocol";
        return Err(attempt.fault(Cause::UpgradeFailed, words).into());
    }
    attempt.shape_response(&mut head);
    attempt.tally.answered(head.status);
    carry_back(attempt, &link, &head, &info, upload).await?;
    keep(attempt, link, &info);
    attempt.worker.give_head(head);
    Ok(())
}

/// How far the request's body got.
struct Upload {
    moved: u64,
    is_done: bool,
}

fn send_head(attempt: &Attempt<'_, '_>, link: &Link) {
    let request = attempt.request;
    let wanted = request
        .upgrade
        .as_deref()
        .map_or(Wanted::KeepAlive, Wanted::Upgrade);
    link.gather(|out| {
        write_request(
            out,
            &attempt.exchange.head,
            request.framing,
            wanted,
            request.expects_continue,
        );
    });
}

/// Sends the request's body and waits for a head, whichever comes first.
async fn await_head(
    attempt: &mut Attempt<'_, '_>,
    link: &Link,
    head: &mut ResponseHead,
    upload: &mut Upload,
    reused: bool,
) -> Result<ResponseInfo, Failure> {
    let limits = HeadLimits::default();
    let method = attempt.exchange.head.method.clone();
    let first_byte = attempt.timeouts().first_byte;
    let chunked = attempt.request.framing == Framing::Chunked;
    let is_empty = matches!(attempt.request.framing, Framing::None | Framing::Length(0));
    let has_body = !upload.is_done && !is_empty;
    let alarm = attempt.alarm;
    let mut pace = Pace::new(alarm, attempt.connection.body_timeout(), first_byte);
    let outcome = {
        let inlet = if has_body {
            attempt.body.inlet()
        } else {
            Inlet::Empty
        };
        let mut relay = Relay::new(inlet, Outlet::Link { link, chunked }, None);
        let responder = &mut *attempt.responder;
        let awaited = Awaited {
            link,
            limits: &limits,
            method: &method,
            alarm,
        };
        let outcome = poll_fn(|cx| {
            if !upload.is_done {
                match relay.poll(cx) {
                    Poll::Ready(Ok(())) => {
                        upload.is_done = true;
                        pace.done();
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Waited::Upload(error)),
                    Poll::Pending => pace.note(&relay),
                }
            }
            awaited.poll(cx, head, (responder, upload.is_done))
        })
        .await;
        upload.moved += relay.bytes();
        attempt.tally.outcome.received_bytes += relay.bytes();
        outcome
    };
    settle(attempt, outcome, (upload, &pace), reused)
}

/// How waiting for a head ended.
enum Waited {
    Head(ResponseInfo),
    Link(LinkError),
    Upload(portolan_wire::io::RelayError),
    Gone,
    TimedOut,
}

/// A head that the instance is to send.
struct Awaited<'a> {
    link: &'a Link,
    limits: &'a HeadLimits,
    method: &'a portolan_model::http::Method,
    alarm: &'a portolan_runtime::Alarm,
}

impl Awaited<'_> {
    fn poll(
        &self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
        (responder, is_sent): (&mut crate::responder::Responder<'_>, bool),
    ) -> Poll<Waited> {
        let parsed = self.link.poll_parse(cx, |input| {
            Ok(
                match parse_response(input, self.limits, self.method, head)? {
                    Parsed::Complete(info) => {
                        let bytes = info.head_bytes;
                        Some((info, bytes))
                    }
                    Parsed::Partial => None,
                },
            )
        });
        match parsed {
            Poll::Ready(Ok(info)) => return Poll::Ready(Waited::Head(info)),
            Poll::Ready(Err(error)) => return Poll::Ready(Waited::Link(error)),
            Poll::Pending => {}
        }
        // An interim answer may be what the client waits for before it sends the body.
        if let Poll::Ready(Err(_)) = responder.poll_flush(cx) {
            return Poll::Ready(Waited::Gone);
        }
        // While the body is read, its end shows there.
        if is_sent && responder.poll_gone(cx).is_ready() {
            return Poll::Ready(Waited::Gone);
        }
        self.alarm.poll_passed(cx).map(|()| Waited::TimedOut)
    }
}

fn settle(
    attempt: &Attempt<'_, '_>,
    waited: Waited,
    (upload, pace): (&Upload, &Pace<'_>),
    reused: bool,
) -> Result<ResponseInfo, Failure> {
    // A kept connection that closes under a request was most likely idle for too long.
    let repeatable = attempt.is_repeatable() && upload.moved == 0;
    let or_retry = |fault: portolan_policy::Fault| {
        if repeatable && reused {
            Failure::Stale(Box::new(fault))
        } else if repeatable {
            Failure::from(fault.retryable())
        } else {
            fault.into()
        }
    };
    match waited {
        Waited::Head(info) => Ok(info),
        Waited::Gone => Err(Failure::Gone),
        Waited::TimedOut => Err(pace.fault(attempt).into()),
        Waited::Upload(error) => match attempt.relay_failure(error, true) {
            Failure::Fault(fault) if repeatable => Err(or_retry(*fault)),
            failure @ (Failure::Gone | Failure::Stale(_) | Failure::Fault(_)) => Err(failure),
        },
        Waited::Link(LinkError::Refused(refusal)) => {
            let fault = attempt.fault(refusal.cause, "the instance's answer is not good HTTP");
            Err(fault.with_detail(refusal.detail).into())
        }
        Waited::Link(LinkError::Ended { partial: true }) => Err(attempt
            .fault(Cause::ResponseIncomplete, "the answer broke off")
            .into()),
        Waited::Link(error @ (LinkError::Ended { partial: false } | LinkError::Broken(_))) => {
            let words = "the instance closed the connection before it answered";
            let kind = if reused { "kept" } else { "new" };
            let detail = format!("{kind} connection to {}: {error}", attempt.address());
            Err(or_retry(
                attempt
                    .fault(Cause::ConnectionClosed, words)
                    .with_detail(detail),
            ))
        }
    }
}

/// Carries the answer's body back while the rest of the request's body still goes out.
async fn carry_back(
    attempt: &mut Attempt<'_, '_>,
    link: &Link,
    head: &ResponseHead,
    info: &ResponseInfo,
    upload: Upload,
) -> Result<(), Failure> {
    let idle = attempt.idle();
    let mut decoder = BodyDecoder::new(info.framing, None, &HeadLimits::default());
    let shape = Shape {
        framing: info.framing,
        declared: info.declared_length,
    };
    let chunked = attempt.request.framing == Framing::Chunked;
    let failure = {
        let gone = |_| Failure::Gone;
        let outlet = attempt
            .responder
            .start(head, shape, Wanted::KeepAlive)
            .map_err(gone)?;
        let inlet = Inlet::Link(link, &mut decoder);
        let mut down = Relay::new(inlet, outlet, Some((attempt.alarm, idle)));
        if upload.is_done {
            down = down.watching();
        }
        let mut up = (!upload.is_done)
            .then(|| Relay::new(attempt.body.inlet(), Outlet::Link { link, chunked }, None));
        let done = poll_fn(|cx| {
            if let Some(relay) = &mut up
                && relay.poll(cx).is_ready()
            {
                // Whatever became of it: the answer decides how the request ends.
                up = None;
            }
            down.poll(cx)
        });
        let done = done.await;
        attempt.tally.outcome.sent_bytes = down.bytes();
        done.err()
    };
    attempt.alarm.clear();
    match failure {
        None => Ok(()),
        Some(error) => Err(attempt.relay_failure(error, false)),
    }
}

/// How many connections may be idle: where an instance allows only so many, no worker may keep
/// more than its share from the others.
fn idle_max(attempt: &Attempt<'_, '_>) -> usize {
    let most = attempt.cluster.template.upstream.connections_max;
    most.map_or(IDLE_MAX, |most| {
        let workers = attempt.worker.shared.board.workers();
        (most.get() as usize / workers).min(IDLE_MAX)
    })
}

/// Keeps the connection for another request if it can carry one.
fn keep(attempt: &Attempt<'_, '_>, link: Box<Link>, info: &ResponseInfo) {
    let template = &attempt.cluster.template;
    let is_reusable = info.persistence == Persistence::KeepAlive
        && info.framing != Framing::UntilClose
        && attempt.body.is_read()
        && template.upstream.proxy_protocol.is_none()
        && !link.has_unread();
    if is_reusable {
        let key = PoolKey {
            slot: attempt.endpoint.slot,
            transport: template.transport,
        };
        attempt
            .worker
            .pool
            .put(key, link, attempt.worker.ticker.now(), idle_max(attempt));
    }
}
