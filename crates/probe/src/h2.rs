//! Connections of HTTP/2, and a PING on one.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{
    Ping,
    client::{Builder, Connection, SendRequest},
};
use portolan_model::route::{Place, Protocol, UpstreamTls};
use portolan_wire::{io::Stream, tls::ALPN_HTTP2};

use super::{
    Failed, Outcome, Reach,
    connect::{Line, drive, words_within},
};

/// Largest head of an answer.
const HEAD_BYTES_MAX: u32 = 16 << 10;
/// Window of a stream, and of a connection: what is asked for is small.
const WINDOW_BYTES: u32 = 64 << 10;

/// A connection, not yet driven.
pub(super) struct Http2 {
    pub(super) send: SendRequest<Bytes>,
    pub(super) connection: Connection<Stream, Bytes>,
    pub(super) address: SocketAddr,
}

pub(super) async fn open(
    reach: &Reach,
    (at, home): (&Place, SocketAddr),
    tls: Option<&UpstreamTls>,
) -> Result<Http2, Failed> {
    let with = tls.map(|tls| (tls, Protocol::Http2));
    let Line { stream, address } = reach.open(at, home, with).await?;
    if tls.is_some() && stream.alpn() != Some(ALPN_HTTP2) {
        return Err("the instance does not speak HTTP/2".into());
    }
    let (send, connection) = Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX)
        .enable_push(false)
        .handshake(stream)
        .await
        .map_err(|error| words(&error))?;
    Ok(Http2 {
        send,
        connection,
        address,
    })
}

pub(super) async fn ping(
    reach: &Reach,
    place: (&Place, SocketAddr),
    tls: Option<&UpstreamTls>,
) -> Result<Outcome, Failed> {
    let Http2 {
        send,
        mut connection,
        address,
    } = open(reach, place, tls).await?;
    let Some(mut pings) = connection.ping_pong() else {
        return Err("the connection takes no PING".into());
    };
    let pong = drive(connection, pings.ping(Ping::opaque())).await;
    // The connection lasts as long as somebody may send on it.
    drop(send);
    pong.map_err(|error| words(&error))?;
    Ok(Outcome::good(format!("{address} answers a PING")))
}

pub(super) fn words(error: &h2::Error) -> Failed {
    if let Some(words) = words_within(error) {
        return words;
    }
    match error.reason() {
        Some(reason) => format!("HTTP/2 failed: {}", reason.description()).into(),
        None => "the instance does not speak HTTP/2".into(),
    }
}
