//! Connections: where to, over TLS or not, and what went wrong in plain words.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
};

use portolan_model::route::{Place, Protocol, UpstreamTls};
use portolan_wire::{io::Stream, tls::tls_failure};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Failed, Reach};

/// Addresses of a host name that are tried.
const ADDRESSES_MAX: usize = 4;

/// What people say instead of the system's words.
const WORDS: [(io::ErrorKind, &str); 5] = [
    (io::ErrorKind::ConnectionRefused, "connection refused"),
    (io::ErrorKind::ConnectionReset, "connection reset"),
    (io::ErrorKind::HostUnreachable, "host unreachable"),
    (io::ErrorKind::NetworkUnreachable, "network unreachable"),
    (io::ErrorKind::TimedOut, "connection timed out"),
];

/// An open connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) stream: Stream,
    pub(super) address: SocketAddr,
}

impl Reach {
    /// Connects, and shakes hands if there is to be TLS.
    pub(super) async fn open(
        &self,
        at: &Place,
        home: SocketAddr,
        tls: Option<(&UpstreamTls, Protocol)>,
    ) -> Result<Line, Failed> {
        self.open_as(at, home, tls, None).await
    }

    /// The same, with a name for a certificate that the setting does not name.
    pub(super) async fn open_as(
        &self,
        at: &Place,
        home: SocketAddr,
        tls: Option<(&UpstreamTls, Protocol)>,
        name: Option<&str>,
    ) -> Result<Line, Failed> {
        let socket = connect(at, home).await?;
        let address = socket.peer_addr().map_err(|error| words(&error))?;
        let Some((tls, protocol)) = tls else {
            let stream = Stream::Plain(socket);
            return Ok(Line { stream, address });
        };
        let host = match at {
            Place::Host(host) => Some(host.host.as_str()),
            Place::Home | Place::Port(_) | Place::Address(_) => None,
        };
        let connector = self.connector(tls, protocol)?;
        let name = connector
            .server_name(name.or(host), address.ip())
            .map_err(|error| -> Failed { error.to_string().into() })?;
        let handshake = TlsConnector::from(connector.config()).connect(name, socket);
        let stream = handshake
            .await
            .map_err(|error| -> Failed { tls_failure(&error).detail.into() })?;
        let stream = Stream::Client(Box::new(stream));
        Ok(Line { stream, address })
    }
}

async fn connect(at: &Place, home: SocketAddr) -> Result<TcpStream, Failed> {
    let mut failed: Failed = "the host has no address".into();
    for address in addresses(at, home).await? {
        match TcpStream::connect(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = words(&error),
        }
    }
    Err(failed)
}

/// The addresses of a place, in the order in which they are tried.
pub(super) async fn addresses(at: &Place, home: SocketAddr) -> Result<Vec<SocketAddr>, Failed> {
    let host = match at {
        Place::Home => return Ok(vec![home]),
        Place::Port(port) => return Ok(vec![SocketAddr::new(home.ip(), *port)]),
        Place::Address(address) => return Ok(vec![*address]),
        Place::Host(host) => host,
    };
    let all = |ips: &[IpAddr]| {
        ips.iter()
            .map(|ip| SocketAddr::new(*ip, host.port))
            .collect()
    };
    if host.host == "localhost" {
        return Ok(all(&[
            Ipv4Addr::LOCALHOST.into(),
            Ipv6Addr::LOCALHOST.into(),
        ]));
    }
    if let Ok(ip) = host.host.parse() {
        return Ok(all(&[ip]));
    }
    let found = tokio::net::lookup_host((host.host.as_str(), host.port)).await;
    match found {
        Ok(found) => Ok(found.take(ADDRESSES_MAX).collect()),
        Err(_) => Err(format!("the host `{}` is not known", host.host).into()),
    }
}

/// Drives a connection while work is done on it, and gives the work's result.
pub(super) async fn drive<T>(connection: impl Future, work: impl Future<Output = T>) -> T {
    let (mut connection, mut work) = (pin!(connection), pin!(work));
    tokio::select! {
        biased;
        result = &mut work => result,
        // What came before the end may still be read.
        _ = &mut connection => work.await,
    }
}

pub(super) fn words(error: &io::Error) -> Failed {
    let known = WORDS.iter().find(|(kind, _)| *kind == error.kind());
    match known {
        Some((_, words)) => (*words).into(),
        None => error.to_string().to_lowercase().into(),
    }
}

/// The plain words for the first error in a chain that is the system's, if there is one.
pub(super) fn words_within(error: &(dyn std::error::Error + 'static)) -> Option<Failed> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(words(error));
        }
        next = error.source();
    }
    None
}
