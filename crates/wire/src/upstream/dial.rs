//! A new connection to an instance.

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use portolan_model::{
    Cause,
    route::{Protocol, ProxyVersion},
};
use portolan_runtime::Env;
use portolan_telemetry::WorkerMeters;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::TlsConnector;

use super::{Berth, Permit};
use crate::{
    http2::Client,
    io::{Buffers, Link, Stream},
    proxy_protocol::{write_v1, write_v2},
    tls::{ALPN_HTTP2, Connector, tls_failure},
};

/// How the instances of an upstream are connected to. Made when the plan changes.
#[derive(Debug)]
pub struct Transport {
    /// What is spoken.
    pub protocol: Protocol,
    /// TLS, if any.
    pub tls: Option<Arc<Connector>>,
    /// How the client is announced, if at all.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Time for everything until requests can be sent.
    pub timeout: Duration,
}

/// A connection that is ready for requests.
#[derive(Debug)]
pub enum Dialled {
    /// For one request at a time.
    Http1(Link),
    /// Shared.
    Http2(Client),
}

/// What a dial works with.
#[derive(Debug)]
pub struct Around<'a> {
    /// Time limits.
    pub env: &'a Env,
    /// The worker's memory.
    pub buffers: &'a Rc<Buffers>,
    /// Counts the connection once it is open.
    pub meters: &'a WorkerMeters,
    /// Where the instance allows only so many.
    pub permit: Option<Permit>,
}

/// Why an instance can't be connected to. Nothing of a request was sent.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct DialError {
    /// The cause.
    pub cause: Cause,
    /// One sentence for the log.
    pub detail: String,
}

impl DialError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the list is foreign, and all others are one cause"
    )]
    fn of_socket(address: SocketAddr, error: &io::Error) -> Self {
        let cause = match error.kind() {
            io::ErrorKind::ConnectionRefused => Cause::ConnectRefused,
            io::ErrorKind::TimedOut => Cause::ConnectTimeout,
            io::ErrorKind::ConnectionReset => Cause::ConnectionClosed,
            _ => Cause::ConnectFailed,
        };
        Self {
            cause,
            detail: format!("connecting to {address}: {error}"),
        }
    }
}

/// Connects, announces the client, shakes hands. `target` is the address and the host name that
/// stands for it, which TLS verifies; `client` is the client's end and ours, for the PROXY
/// protocol.
///
/// # Errors
/// [`DialError`] says what failed.
///
/// # Cancellation
/// Dropping the future closes the half-made connection.
pub async fn dial(
    transport: &Transport,
    target: (SocketAddr, Option<&str>),
    client: (SocketAddr, SocketAddr),
    wants_http2: bool,
    around: Around<'_>,
) -> Result<Dialled, DialError> {
    let Around {
        env,
        buffers,
        meters,
        permit,
    } = around;
    let address = target.0;
    let work = async {
        let stream = connect(transport, target, client).await?;
        let berth = Berth::new(meters.clone(), permit);
        let negotiated = stream.alpn().map(|alpn| alpn == ALPN_HTTP2);
        let http2 = match transport.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => negotiated.unwrap_or(wants_http2 && transport.tls.is_none()),
        };
        if !http2 {
            let link = Link::new(stream, Rc::clone(buffers));
            return Ok(Dialled::Http1(link.at(berth)));
        }
        let client = Client::connect(stream, buffers, berth, env)
            .await
            .map_err(|error| DialError {
                cause: Cause::ResponseMalformed,
                detail: format!("HTTP/2 with {address}: {}", error.source),
            })?;
        Ok(Dialled::Http2(client))
    };
    env.timeout(transport.timeout, work)
        .await
        .unwrap_or_else(|_| {
            let detail = format!("no connection to {address} within {:?}", transport.timeout);
            Err(DialError {
                cause: Cause::ConnectTimeout,
                detail,
            })
        })
}

async fn connect(
    transport: &Transport,
    (address, host): (SocketAddr, Option<&str>),
    (source, destination): (SocketAddr, SocketAddr),
) -> Result<Stream, DialError> {
    let failed = |error: io::Error| DialError::of_socket(address, &error);
    let mut socket = TcpStream::connect(address).await.map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    if let Some(version) = transport.proxy_protocol {
        let mut header = Vec::new();
        match version {
            ProxyVersion::V1 => write_v1(&mut header, source, destination),
            ProxyVersion::V2 => write_v2(&mut header, source, destination),
        }
        socket.write_all(&header).await.map_err(failed)?;
    }
    let Some(connector) = &transport.tls else {
        return Ok(Stream::Plain(socket));
    };
    let name = connector.server_name(host, address.ip());
    let name = name.map_err(|error| DialError {
        cause: Cause::TlsCertificate,
        detail: error.to_string(),
    })?;
    let handshake = TlsConnector::from(connector.config())
        .connect(name, socket)
        .await;
    let tls = handshake.map_err(|error| {
        let failure = tls_failure(&error);
        DialError {
            cause: failure.cause,
            detail: format!("TLS with {address}: {}", failure.detail),
        }
    })?;
    Ok(Stream::Client(Box::new(tls)))
}
