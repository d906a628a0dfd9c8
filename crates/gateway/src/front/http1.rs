//! An HTTP/1 connection of a client.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use portolan_model::Cause;
use portolan_policy::{Exchange, Fault};
use portolan_runtime::{Alarm, Env};
use portolan_wire::{
    h1::{
        BodyDecoder, Framing, HeadLimits, Parsed, Persistence, Refusal, RequestInfo, Wanted,
        parse_request,
    },
    io::{Inlet, Link, LinkError, Relay, Stream},
};

use crate::{
    answer,
    back::RequestShape,
    connection::Connection,
    responder::{LinkResponder, RequestBody, Responder, Shape},
    tally::Tally,
    walk::{Walk, walk},
    worker::Worker,
};

/// How long what a client still sends is read after the last answer, so that its kernel does not
/// throw the answer away.
const LINGER: Duration = Duration::from_secs(2);
/// How much of it is read.
const LINGER_BYTES_MAX: usize = 256 << 10;

/// How long a connection stays as it is after an answer, for the next request that follows
/// soon. One that is idle for longer gives its memory back.
const QUIET: Duration = Duration::from_secs(1);

/// Serves requests until the connection ends.
pub(crate) async fn serve(worker: &Rc<Worker>, connection: Rc<Connection>, link: Link) {
    let alarm = worker.take_alarm();
    alarm.set(connection.head_timeout());
    let mut is_first = true;
    while begins(worker, &link, &alarm).await {
        // In a box, because what a request needs is large and an idle connection is to be small.
        let serving = serve_busy(worker, &connection, &link, (&alarm, is_first));
        match Box::pin(serving).await {
            After::Rest => alarm.set(connection.idle_timeout().saturating_sub(QUIET)),
            After::End => break,
            After::Close => return worker.give_alarm(alarm),
        }
        is_first = false;
    }
    end(&link, &alarm).await;
    worker.give_alarm(alarm);
}

/// What becomes of a connection.
enum After {
    /// It is quiet, and may go on at some time.
    Rest,
    /// It ends, and the client may not know that yet.
    End,
    /// The client has said that it ends here, and has its answer.
    Close,
}

/// Waits for the first bytes of a request. Says whether there are any.
async fn begins(worker: &Worker, link: &Link, alarm: &Alarm) -> bool {
    poll_fn(|cx| {
        if link.has_unread() {
            return Poll::Ready(true);
        }
        match link.poll_parse(cx, |_| Ok(Some(((), 0)))) {
            Poll::Ready(some) => Poll::Ready(some.is_ok()),
            Poll::Pending if worker.draining.get() => Poll::Ready(false),
            Poll::Pending => alarm.poll_passed(cx).map(|()| false),
        }
    })
    .await
}

/// Serves requests as long as they follow each other soon.
async fn serve_busy(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    link: &Link,
    (alarm, is_first): (&Alarm, bool),
) -> After {
    let limits = connection.head_limits();
    let mut exchange = worker.take_exchange(connection.peer.ip());
    let mut expected = Expected {
        limits: &limits,
        is_first,
    };
    let after = loop {
        let head = (&mut exchange, alarm);
        let info = match read_head(worker, connection, link, head, expected).await {
            Heard::Request(info) => info,
            Heard::Nothing => break After::End,
            Heard::Quiet => break After::Rest,
            Heard::Refused(refusal) => {
                refuse(worker, connection, link, alarm, (&exchange, refusal)).await;
                break After::End;
            }
        };
        expected.is_first = false;
        let wants_more = info.persistence == Persistence::KeepAlive;
        let is_answered = answer_one(worker, connection, link, (&mut exchange, alarm), info).await;
        match is_answered {
            Answered::Keep => {}
            Answered::Whole if !wants_more && is_over(link) => break After::Close,
            Answered::Whole | Answered::Broken => break After::End,
        }
        link.rest();
        exchange.clear();
    };
    worker.give_exchange(exchange);
    after
}

/// Whether nothing is left to say on a connection that the client wanted to end with its request:
/// such a one need not be waited for. Under TLS both sides say goodbye.
fn is_over(link: &Link) -> bool {
    let is_plain = link.with_stream(|stream| matches!(stream, Stream::Plain(_)));
    let mut cx = Context::from_waker(Waker::noop());
    is_plain && !link.has_unread() && link.poll_gone(&mut cx, 1).is_pending() && !link.has_unread()
}

/// What a head may be like, and how long to wait for it.
#[derive(Clone, Copy)]
struct Expected<'a> {
    limits: &'a HeadLimits,
    /// The first head of a connection has the head's time, which runs already; a later one may
    /// also be long in coming.
    is_first: bool,
}

/// What came.
enum Heard {
    Request(RequestInfo),
    Nothing,
    /// Nothing so far, and the connection may rest.
    Quiet,
    Refused(Refusal),
}

async fn read_head(
    worker: &Worker,
    connection: &Connection,
    link: &Link,
    (exchange, alarm): (&mut Exchange, &Alarm),
    Expected { limits, is_first }: Expected<'_>,
) -> Heard {
    let head_timeout = connection.head_timeout();
    let mut is_begun = link.has_unread() || is_first;
    if !is_first {
        alarm.set(if is_begun {
            head_timeout
        } else {
            connection.idle_timeout().min(QUIET)
        });
    }
    let heard = poll_fn(|cx| {
        let parsed = link.poll_parse(cx, |input| {
            let parsed = parse_request(input, limits, connection.scheme, &mut exchange.head)?;
            Ok(match parsed {
                Parsed::Complete(info) => {
                    let bytes = info.head_bytes;
                    Some((info, bytes))
                }
                Parsed::Partial => None,
            })
        });
        match parsed {
            Poll::Ready(Ok(info)) => return Poll::Ready(Heard::Request(info)),
            Poll::Ready(Err(LinkError::Refused(refusal))) => {
                return Poll::Ready(Heard::Refused(refusal));
            }
            Poll::Ready(Err(LinkError::Ended { .. } | LinkError::Broken(_))) => {
                return Poll::Ready(Heard::Nothing);
            }
            Poll::Pending => {}
        }
        let has_some = link.has_unread();
        if has_some && !is_begun {
            is_begun = true;
            alarm.set(head_timeout);
        }
        if worker.draining.get() && !has_some {
            return Poll::Ready(Heard::Nothing);
        }
        alarm.poll_passed(cx).map(|()| {
            if has_some {
                let detail = "the head did not come in time";
                Heard::Refused(Refusal {
                    cause: Cause::RequestTimeout,
                    detail,
                })
            } else if connection.idle_timeout() > QUIET {
                Heard::Quiet
            } else {
                Heard::Nothing
            }
        })
    });
    heard.await
}

/// How a request was answered.
enum Answered {
    /// Whole, and the connection may carry another.
    Keep,
    /// Whole, request and answer, but the connection ends.
    Whole,
    /// Not whole.
    Broken,
}

/// Answers one request.
async fn answer_one(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    link: &Link,
    (exchange, alarm): (&mut Exchange, &Alarm),
    info: RequestInfo,
) -> Answered {
    let started = worker.instant();
    alarm.clear();
    let mut tally = Tally::new(worker, connection, &exchange.head, started);
    let limits = connection.head_limits();
    let decoder = BodyDecoder::new(info.framing, connection.body_max(), &limits);
    let keep = info.persistence == Persistence::KeepAlive && !worker.draining.get();
    let responder = LinkResponder {
        link,
        version: exchange.head.version,
        keep,
        is_started: false,
    };
    let body = RequestBody::Link(link, decoder);
    let mut responder = Responder::Link(responder);
    if let Some(refusal) = over_the_limit(&info, connection) {
        let fault = Fault::new(refusal.cause, refusal.detail);
        tally.failed(&fault);
        tell(
            &mut responder,
            &fault,
            exchange,
            (&mut tally, alarm),
            &worker.shared.env,
        )
        .await;
        return Answered::Broken;
    }
    let request = RequestShape {
        framing: info.framing,
        expects_continue: info.expects_continue,
        upgrade: info.upgrade,
    };
    let walking = Walk {
        worker,
        connection,
        exchange,
        request,
        body,
        responder,
        alarm,
    };
    let walked = walk(walking, &mut tally).await;
    match walked.responder {
        Responder::Link(responder) if walked.is_whole && walked.body.is_read() => {
            if responder.keep {
                Answered::Keep
            } else {
                Answered::Whole
            }
        }
        Responder::Link(_) | Responder::Stream(_) => Answered::Broken,
    }
}

/// A body that declares more than the limit is refused before a byte of it is read.
fn over_the_limit(info: &RequestInfo, connection: &Connection) -> Option<Refusal> {
    let Framing::Length(length) = info.framing else {
        return None;
    };
    let limit = connection.body_max()?;
    let detail = "the body is over the limit";
    (length > limit).then_some(Refusal {
        cause: Cause::BodyTooLarge,
        detail,
    })
}

/// Tells a client what is wrong with its request, before the connection is closed.
async fn refuse(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    link: &Link,
    alarm: &Alarm,
    (exchange, refusal): (&Exchange, Refusal),
) {
    worker.meters.refuse(refusal.cause);
    let started = worker.instant();
    let mut tally = Tally::new(worker, connection, &exchange.head, started);
    let fault = Fault::new(refusal.cause, refusal.detail);
    tally.failed(&fault);
    let version = portolan_model::http::Version::Http11;
    let responder = LinkResponder {
        link,
        version,
        keep: false,
        is_started: false,
    };
    tell(
        &mut Responder::Link(responder),
        &fault,
        exchange,
        (&mut tally, alarm),
        &worker.shared.env,
    )
    .await;
}

async fn tell(
    responder: &mut Responder<'_>,
    fault: &Fault,
    exchange: &Exchange,
    (tally, alarm): (&mut Tally, &Alarm),
    env: &Env,
) {
    if let Responder::Link(responder) = responder {
        responder.keep = false;
    }
    let reply = answer::of_fault(fault, None, &exchange.request_id);
    let head = answer::head_of(&reply, env);
    tally.answered(head.status);
    let length = reply.body.len() as u64;
    let shape = Shape {
        framing: Framing::Length(length),
        declared: Some(length),
    };
    let Ok(outlet) = responder.start(&head, shape, Wanted::Close) else {
        return;
    };
    let mut relay = Relay::new(Inlet::Full(reply.body), outlet, Some((alarm, LINGER)));
    // A client that does not wait for the answer gets none.
    let _told = poll_fn(|cx| relay.poll(cx)).await;
}

/// Sends the end of the stream and reads a little of what still comes.
async fn end(link: &Link, alarm: &Alarm) {
    alarm.set(LINGER);
    let mut is_shut = false;
    let mut read = 0;
    poll_fn(|cx| {
        if !is_shut {
            match link.poll_shutdown(cx) {
                Poll::Ready(Ok(())) => is_shut = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return alarm.poll_passed(cx),
            }
        }
        loop {
            let parsed = link.poll_parse(cx, |input| Ok(Some((input.len(), input.len()))));
            match parsed {
                Poll::Ready(Ok(bytes)) => read += bytes,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return alarm.poll_passed(cx),
            }
            if read > LINGER_BYTES_MAX {
                return Poll::Ready(());
            }
        }
    })
    .await;
}
