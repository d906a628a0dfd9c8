//! An HTTP/2 connection of a client.

use std::{cell::Cell, future::poll_fn, io, rc::Rc, task::Poll, time::Duration};

use bytes::Bytes;
use h2::{
    RecvStream,
    server::{Builder, Connection as Http2, SendResponse},
};
use http::Request;
use portolan_model::{Cause, http::Method};
use portolan_policy::{Exchange, Fault};
use portolan_runtime::Dice;
use portolan_wire::{
    h1::Framing,
    http2::{BadRequest, Hold, Watched, read_request},
    io::Stream,
};

use crate::{
    back::RequestShape,
    connection::Connection,
    responder::{RequestBody, Responder, StreamResponder},
    tally::Tally,
    walk::{Walk, fail, walk},
    worker::Worker,
};

/// Window of a connection: what many streams share.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Window of a stream.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Most that is queued for a stream whose client does not read.
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// A stream that ends younger than this was hardly meant to be answered.
const PREMATURE: Duration = Duration::from_secs(1);
/// How long a connection without requests is kept after it was asked to go.
const GOODBYE: Duration = Duration::from_secs(5);

/// Serves requests until the connection ends.
pub(crate) async fn serve(
    worker: &Rc<Worker>,
    connection: Rc<Connection>,
    stream: Stream,
    early: Vec<u8>,
) {
    let limits = &connection.listener.limits;
    let mut builder = Builder::new();
    builder
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .max_concurrent_streams(limits.streams_max.get())
        .max_header_list_size(u32::try_from(limits.head_max.as_bytes()).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(limits.resets_max.get() as usize)
        .max_local_error_reset_streams(Some(limits.resets_max.get() as usize))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .enable_connect_protocol();
    let (watched, hold) = Watched::new(early, stream, Rc::clone(&worker.buffers));
    let handshake = builder.handshake::<_, Bytes>(watched);
    let timeout = connection.head_timeout();
    match worker.shared.env.timeout(timeout, handshake).await {
        Ok(Ok(http2)) => accept(worker, &connection, http2, &hold).await,
        Ok(Err(error)) => tracing::debug!(%error, "http2 handshake failed"),
        Err(_) => tracing::debug!("http2 handshake took too long"),
    }
    if let Some(reason) = hold.violation() {
        worker.meters.refuse(Cause::RequestMalformed);
        tracing::debug!(%reason, "an http2 client broke a rule");
        let _told = worker.shared.env.timeout(GOODBYE, hold.say_goodbye()).await;
    }
}

/// The requests of a connection.
#[derive(Clone, Debug, Default)]
struct Streams(Rc<StreamCounts>);

#[derive(Debug, Default)]
struct StreamCounts {
    /// Being answered.
    open: Cell<u32>,
    /// Broken off young, less those that were answered: a client that only opens and resets
    /// costs work and gets nothing (CVE-2023-44487).
    wasted: Cell<u32>,
}

impl Streams {
    fn enter(&self) -> Self {
        self.0.open.set(self.0.open.get().saturating_add(1));
        self.clone()
    }

    fn leave(&self, is_whole: bool, lived: Duration) {
        let StreamCounts { open, wasted } = &*self.0;
        open.set(open.get().saturating_sub(1));
        if is_whole {
            wasted.set(wasted.get().saturating_sub(1));
        } else if lived < PREMATURE {
            wasted.set(wasted.get().saturating_add(1));
        }
    }
}

async fn accept(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    mut http2: Http2<Watched, Bytes>,
    hold: &Hold,
) {
    hold.gather();
    let alarm = worker.ticker.alarm();
    let streams = Streams::default();
    let wasted_max = connection.listener.limits.resets_max.get();
    let mut is_leaving = false;
    alarm.set(connection.idle_timeout());
    loop {
        let next = poll_fn(|cx| {
            if streams.0.wasted.get() > wasted_max {
                return Poll::Ready(Next::Flood);
            }
            if let Poll::Ready(next) = http2.poll_accept(cx) {
                return Poll::Ready(Next::Stream(next));
            }
            // Everybody who was woken has had a turn by now: one write for all of them.
            if let Poll::Ready(Err(error)) = hold.poll_send(cx) {
                return Poll::Ready(Next::Broken(error));
            }
            if worker.draining.get() && !is_leaving {
                return Poll::Ready(Next::Leave);
            }
            if streams.0.open.get() > 0 {
                alarm.set(connection.idle_timeout());
            }
            alarm
                .poll_passed(cx)
                .map(|()| if is_leaving { Next::End } else { Next::Leave })
        });
        match next.await {
            Next::Stream(Some(Ok((request, respond)))) => {
                alarm.set(connection.idle_timeout());
                let entered = streams.enter();
                // In a box, because a task moves its future several times and this one is large.
                let answering = Box::pin(answer(
                    Rc::clone(worker),
                    Rc::clone(connection),
                    request,
                    respond,
                    entered,
                ));
                worker
                    .shared
                    .env
                    .spawn_local("http2 request", answering)
                    .detach();
            }
            Next::Stream(Some(Err(error))) => {
                tracing::debug!(%error, "http2 connection failed");
                return;
            }
            Next::Broken(error) => {
                tracing::debug!(%error, "http2 connection broke");
                return;
            }
            Next::Stream(None) | Next::End => return,
            Next::Flood => {
                worker.meters.refuse(Cause::Overloaded);
                tracing::debug!("an http2 client takes back its requests too often");
                http2.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                // The goodbye is sent by polling; a client that does not read it is let go.
                let goodbye = poll_fn(|cx| http2.poll_closed(cx));
                let _sent = worker.shared.env.timeout(GOODBYE, goodbye).await;
                return;
            }
            Next::Leave => {
                is_leaving = true;
                http2.graceful_shutdown();
                alarm.set(GOODBYE);
            }
        }
    }
}

/// How the request's body ends, and whether it wants to change the protocol.
fn shape_of(
    worker: &Worker,
    exchange: &mut Exchange,
    read: &Result<Framing, BadRequest>,
) -> RequestShape {
    let upgrade = exchange.head.protocol.take();
    if upgrade.is_some() {
        as_upgrade(exchange, &mut worker.dice.borrow_mut());
    }
    RequestShape {
        framing: match read {
            Ok(framing) if upgrade.is_none() => *framing,
            // What follows a change of protocol is no body of the request.
            Ok(_) | Err(_) => Framing::None,
        },
        expects_continue: false,
        upgrade,
    }
}

/// An extended CONNECT is to HTTP/2 what an upgrade is to HTTP/1 (RFC 8441): from here on
/// both look alike. The key, which only HTTP/1 has, is made up; nobody checks the answer to it.
fn as_upgrade(exchange: &mut Exchange, dice: &mut Dice) {
    exchange.head.method = Method::Get;
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Sixteen bytes are twenty-two letters, the last of which has two bits only.
    let mut key = [b'='; 24];
    for (place, letter) in key.iter_mut().enumerate().take(22) {
        let (step, bound) = if place == 21 { (16, 4) } else { (1, 64) };
        *letter = letters[(dice.u32_below(bound) * step) as usize];
    }
    let _set = exchange.head.fields.set("sec-websocket-key", &key);
}

/// A request and the way back.
type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one turn of a loop, and nearly all turns are streams"
)]
enum Next {
    Stream(Option<Result<Accepted, h2::Error>>),
    /// Nothing more can be sent.
    Broken(io::Error),
    Leave,
    /// The client resets too many streams.
    Flood,
    End,
}

async fn answer(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    streams: Streams,
) {
    let started = worker.instant();
    let alarm = worker.take_alarm();
    let (parts, stream) = request.into_parts();
    let mut exchange = worker.take_exchange(connection.peer.ip());
    let target_max = connection.listener.limits.uri_max.as_usize();
    let read = read_request(
        &parts,
        !stream.is_end_stream(),
        target_max,
        &mut exchange.head,
    );
    exchange.head.scheme = connection.scheme;
    let mut tally = Tally::new(&worker, &connection, &exchange.head, started);
    let shape = shape_of(&worker, &mut exchange, &read);
    let framing = shape.framing;
    let mut walking = Walk {
        worker: &worker,
        connection: &connection,
        exchange: &mut exchange,
        request: shape,
        body: RequestBody::Stream {
            stream,
            room: connection.body_max(),
        },
        responder: Responder::Stream(StreamResponder::new(respond)),
        alarm: &alarm,
    };
    let over =
        matches!((framing, connection.body_max()), (Framing::Length(n), Some(max)) if n > max);
    let mut reason = h2::Reason::INTERNAL_ERROR;
    let walked = match read {
        Err(refusal) if refusal.cause == Cause::RequestMalformed => {
            // No answer, but a stream error (RFC 9113, section 8.1.1).
            worker.meters.refuse(refusal.cause);
            tally.failed(&Fault::new(refusal.cause, refusal.detail));
            reason = h2::Reason::PROTOCOL_ERROR;
            walking.into_walked()
        }
        Err(refusal) => {
            worker.meters.refuse(refusal.cause);
            let fault = Fault::new(refusal.cause, refusal.detail);
            fail(&mut walking, &fault, &mut tally).await;
            walking.into_walked()
        }
        Ok(_) if over => {
            let fault = Fault::new(Cause::BodyTooLarge, "the body is over the limit");
            fail(&mut walking, &fault, &mut tally).await;
            walking.into_walked()
        }
        Ok(_) => walk(walking, &mut tally).await,
    };
    // A whole answer to a request that was not read whole: dropping the stream says so
    // (RFC 9113, section 8.1).
    let is_whole = walked.is_whole;
    if let Responder::Stream(mut stream) = walked.responder
        && !is_whole
    {
        stream.reset(reason);
    }
    let lived = worker.instant().saturating_duration_since(started);
    streams.leave(is_whole, lived);
    worker.give_exchange(exchange);
    worker.give_alarm(alarm);
}
