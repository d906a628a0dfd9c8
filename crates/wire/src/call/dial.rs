//! Connections to control servers, for whatever is spoken on them.

use std::{io, net::IpAddr, path::Path, time::Duration};

use portolan_runtime::{Env, sockets::keep_alive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
};
use tokio_rustls::TlsConnector;

use super::{CallError, Scheme, Url};
use crate::tls::{ALPN_HTTP2, Connector};

/// How long one address may take to accept a connection and shake hands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the system may take to look a name up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;

/// A connection, in the clear or over TLS.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Socket for S {}

/// A connection, and what was settled on when it was made.
pub(super) struct Dialled {
    pub(super) socket: Box<dyn Socket>,
    /// Over TLS, both sides would speak HTTP/2.
    pub(super) is_http2: bool,
}

/// Connects to the first address of the URL's host that takes the connection, over TLS if
/// the URL says so. The URL's path does not matter.
///
/// # Errors
/// [`CallError`]: nothing was said yet.
pub async fn dial(
    url: &Url,
    tls: Option<&Connector>,
    env: &Env,
) -> Result<Box<dyn Socket>, CallError> {
    Ok(dial_settled(url, tls, env).await?.socket)
}

/// The same as [`dial`]; says what was settled on.
pub(super) async fn dial_settled(
    url: &Url,
    tls: Option<&Connector>,
    env: &Env,
) -> Result<Dialled, CallError> {
    match (url.scheme(), tls) {
        (Scheme::Http, _) => Ok(Dialled {
            socket: Box::new(connect(url, env).await?),
            is_http2: false,
        }),
        (Scheme::Https, None) => Err(CallError::NoTls { url: url.clone() }),
        (Scheme::Https, Some(tls)) => {
            let stream = connect(url, env).await?;
            let address = stream.peer_addr().map_err(|source| lookup(url, source))?;
            let name = match url.host().parse::<IpAddr>() {
                Ok(ip) => tls.server_name(None, ip),
                Err(_) => tls.server_name(Some(url.host()), address.ip()),
            }?;
            let shaking = TlsConnector::from(tls.config()).connect(name, stream);
            let stream = in_time(env, shaking).await;
            let stream = stream.map_err(|source| CallError::Connect { address, source })?;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
            Ok(Dialled {
                socket: Box::new(stream),
                is_http2,
            })
        }
    }
}

/// Connects to a socket on this machine.
pub(super) async fn dial_path(path: &Path, env: &Env) -> Result<Box<dyn Socket>, CallError> {
    let stream = in_time(env, UnixStream::connect(path)).await;
    let stream = stream.map_err(|source| CallError::Socket {
        path: path.to_owned(),
        source,
    })?;
    Ok(Box::new(stream))
}

async fn connect(url: &Url, env: &Env) -> Result<TcpStream, CallError> {
    let looking = lookup_host((url.host(), url.port()));
    let found = env.timeout(LOOKUP_TIMEOUT, looking).await;
    let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let addresses = found.map_err(|source| lookup(url, source))?;
    let mut last = lookup(url, io::ErrorKind::NotFound.into());
    for address in addresses.take(ADDRESSES_MAX) {
        match in_time(env, TcpStream::connect(address)).await {
            Ok(stream) => {
                // A line that is gone already is found out by the first call.
                let _gone = stream.set_nodelay(true).and_then(|()| keep_alive(&stream));
                return Ok(stream);
            }
            Err(source) => last = CallError::Connect { address, source },
        }
    }
    Err(last)
}

async fn in_time<T>(env: &Env, opening: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let opened = env.timeout(CONNECT_TIMEOUT, opening).await;
    opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn lookup(url: &Url, source: io::Error) -> CallError {
    CallError::Lookup {
        host: url.host().into(),
        source,
    }
}
