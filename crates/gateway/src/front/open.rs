//! From an accepted socket to a connection that speaks HTTP.

use std::{cell::OnceCell, net::SocketAddr, rc::Rc, sync::Arc, task::Poll};

use portolan_config::ProxyHeader;
use portolan_model::{Cause, http::Scheme};
use portolan_telemetry::Count;
use portolan_wire::{
    h1::Parsed,
    io::{Link, LinkError, Stream},
    proxy_protocol::{self, BadHeader},
    tls::{ALPN_HTTP2, tls_failure},
};
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{http1, http2};
use crate::{
    connection::{Connection, Texts, is_trusted},
    listener::{ListenerState, Settings},
    worker::Worker,
};

/// What an HTTP/2 client says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Most bytes looked at for a PROXY header at a time.
const PEEK_BYTES: usize = 512;

/// Serves an accepted socket to its end.
pub(crate) async fn open(
    worker: Rc<Worker>,
    state: Arc<ListenerState>,
    socket: TcpStream,
    peer: SocketAddr,
) {
    let settings = state.settings();
    // Over the limit the socket is closed at once: the kernel's queue is no place to wait.
    let Some(_place) = state.place(&settings) else {
        let detail = "the listener has as many connections as it may";
        return refuse(&worker, &settings, Cause::Overloaded, detail);
    };
    worker.meters.count(Count::ConnectionAccepted);
    match prepare(&worker, &state, &settings, (socket, peer)).await {
        Ok((connection, stream)) => serve(&worker, connection, stream).await,
        Err((cause, detail)) => refuse(&worker, &settings, cause, &detail),
    }
    worker.meters.count(Count::ConnectionClosed);
}

/// Counts a connection that is closed before a request of it was read.
fn refuse(worker: &Worker, settings: &Settings, cause: Cause, detail: &str) {
    worker.meters.refuse(cause);
    let cause = cause.id();
    tracing::debug!(listener = %settings.listener.name, cause, reason = detail, "connection refused");
}

/// Why a connection is refused: the cause to count, and words for the log.
type Refused = (Cause, String);

async fn prepare(
    worker: &Worker,
    state: &ListenerState,
    settings: &Settings,
    (socket, peer): (TcpStream, SocketAddr),
) -> Result<(Rc<Connection>, Stream), Refused> {
    let bound = state.address();
    let local = if bound.ip().is_unspecified() {
        let text = |error: std::io::Error| (Cause::ClientGone, error.to_string());
        socket.local_addr().map_err(text)?
    } else {
        bound
    };
    let proxies = &settings.trusted_proxies;
    let trusted = is_trusted(proxies, peer.ip());
    let wanted = settings.listener.proxy_protocol;
    if wanted == ProxyHeader::Required && !trusted {
        let detail = "a PROXY header is required, and the peer is no trusted proxy";
        return Err((Cause::Denied, detail.to_owned()));
    }
    let connection = Connection {
        listener: Arc::clone(&settings.listener),
        peer,
        local,
        trusted,
        scheme: Scheme::Http,
        tls: None,
        trusted_proxies: Arc::clone(proxies),
        texts: Texts::new(peer.ip(), local),
        announced: OnceCell::new(),
    };
    let has_header = wanted != ProxyHeader::Off && trusted;
    if !has_header && settings.tls.is_none() {
        return Ok((Rc::new(connection), Stream::Plain(socket)));
    }
    // In a box: what it takes to greet is large, and soon done with.
    let greeting = Box::pin(greet(settings, socket, (connection, has_header)));
    let limit = settings.listener.timeouts.head;
    let greeted = worker.shared.env.timeout(limit, greeting).await;
    greeted.unwrap_or_else(|_| {
        let detail = "it took too long to open";
        Err((Cause::RequestTimeout, detail.to_owned()))
    })
}

/// Reads what comes before HTTP: a PROXY header, a TLS handshake.
async fn greet(
    settings: &Settings,
    mut socket: TcpStream,
    (mut connection, has_header): (Connection, bool),
) -> Result<(Rc<Connection>, Stream), Refused> {
    if has_header {
        let header = read_proxy_header(&mut socket, settings.listener.proxy_protocol).await;
        let bad = |detail| (Cause::RequestMalformed, detail);
        if let Some((peer, local)) = header.map_err(bad)? {
            (connection.peer, connection.local) = (peer, local);
            // From here on the client's own word counts, not the proxy's.
            connection.trusted = is_trusted(&settings.trusted_proxies, peer.ip());
            connection.texts = Texts::new(peer.ip(), local);
        }
    }
    let Some(tls) = &settings.tls else {
        return Ok((Rc::new(connection), Stream::Plain(socket)));
    };
    let stream = TlsAcceptor::from(tls.config())
        .accept(socket)
        .await
        .map_err(|error| (tls_failure(&error).cause, error.to_string()))?;
    connection.scheme = Scheme::Https;
    connection.tls = match stream.get_ref().1.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => Some("1.2"),
        _ => Some("1.3"),
    };
    Ok((Rc::new(connection), Stream::Server(Box::new(stream))))
}

/// Reads a PROXY header; `None` if there is none, or it names nobody.
async fn read_proxy_header(
    socket: &mut TcpStream,
    wanted: ProxyHeader,
) -> Result<Option<(SocketAddr, SocketAddr)>, String> {
    let mut seen = Vec::new();
    let mut peeked = [0; PEEK_BYTES];
    loop {
        let bytes = socket
            .peek(&mut peeked)
            .await
            .map_err(|error| error.to_string())?;
        if bytes == 0 {
            return Err("closed before the PROXY header was whole".to_owned());
        }
        let known = seen.len();
        seen.extend_from_slice(&peeked[..bytes]);
        let take = match proxy_protocol::parse(&seen) {
            Ok(Parsed::Complete(header)) => header.bytes - known,
            Ok(Parsed::Partial) => bytes,
            Err(BadHeader::Absent) if known == 0 && wanted == ProxyHeader::Optional => {
                return Ok(None);
            }
            Err(error) => return Err(error.to_string()),
        };
        // All of it is there: it was just seen.
        socket
            .read_exact(&mut peeked[..take])
            .await
            .map_err(|error| error.to_string())?;
        if let Ok(Parsed::Complete(header)) = proxy_protocol::parse(&seen) {
            return Ok(header.addresses);
        }
    }
}

/// Serves a connection by what is spoken on it. HTTP/2 is in a box, because a connection of
/// HTTP/1 is to be small while it is idle.
async fn serve(worker: &Rc<Worker>, connection: Rc<Connection>, stream: Stream) {
    let protocols = connection.listener.protocols;
    if connection.tls.is_some() {
        let is_http2 = stream.alpn() == Some(ALPN_HTTP2) || !protocols.http1;
        if is_http2 {
            return Box::pin(http2::serve(worker, connection, stream, Vec::new())).await;
        }
    } else if protocols.http2 {
        let link = Link::new(stream, Rc::clone(&worker.buffers));
        if !says_preface(worker, &connection, &link).await {
            return http1_or_end(worker, connection, link).await;
        }
        let (stream, early) = link.into_parts();
        return Box::pin(http2::serve(worker, connection, stream, early)).await;
    }
    let link = Link::new(stream, Rc::clone(&worker.buffers));
    http1_or_end(worker, connection, link).await;
}

async fn http1_or_end(worker: &Rc<Worker>, connection: Rc<Connection>, link: Link) {
    if connection.listener.protocols.http1 {
        http1::serve(worker, connection, link).await;
    }
}

/// Whether the client begins with HTTP/2's preface. Looks only as far as it could be one.
async fn says_preface(worker: &Worker, connection: &Connection, link: &Link) -> bool {
    let alarm = worker.ticker.alarm();
    alarm.set(connection.idle_timeout());
    let looking = std::future::poll_fn(|cx| {
        let parsed: Poll<Result<bool, LinkError>> = link.poll_parse(cx, |input| {
            let common = input
                .iter()
                .zip(PREFACE)
                .take_while(|(a, b)| a == b)
                .count();
            Ok(if common == PREFACE.len() {
                Some((true, 0))
            } else if common == input.len() {
                None
            } else {
                Some((false, 0))
            })
        });
        match parsed {
            Poll::Ready(result) => Poll::Ready(result.unwrap_or(false)),
            Poll::Pending if worker.draining.get() && !link.has_unread() => Poll::Ready(false),
            Poll::Pending => alarm.poll_passed(cx).map(|()| false),
        }
    });
    looking.await
}
