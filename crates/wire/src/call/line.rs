//! One connection to a control listener, and the calls on it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use portolan_model::ByteSize;
use portolan_runtime::{Env, Task};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::TlsConnector;

use super::{Scheme, Url};
use crate::tls::{BadServerName, Connector};

/// The largest answer that is read.
const ANSWER_MAX: ByteSize = ByteSize::from_bytes(256 << 10);
/// How long one address may take to accept a connection and shake hands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the system may take to look a name up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;
const AGENT: HeaderValue = HeaderValue::from_static("portolan");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A connection to a control listener, for one call at a time.
#[derive(Debug)]
pub struct Line {
    sender: SendRequest<Full<Bytes>>,
    connection: Task,
    url: Url,
    env: Env,
    authorization: Option<HeaderValue>,
    announces_end: bool,
}

/// What to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query, from the slash after the [`Url`]'s own path.
    pub path: String,
    /// A body in JSON, if there is one.
    pub body: Option<Bytes>,
}

/// What was answered, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no answer. Whether the call was carried out is not known, unless there is
/// no connection.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody knows the host.
    #[error("`{host}` can't be looked up")]
    Lookup {
        /// The host.
        host: Arc<str>,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// None of the host's addresses takes a connection; this is what the last one did.
    #[error("no connection to {address}")]
    Connect {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The host is no name that a certificate can carry.
    #[error(transparent)]
    ServerName(#[from] BadServerName),
    /// The place wants TLS, and there are no settings for it.
    #[error("{url} is called without settings for TLS")]
    NoTls {
        /// The place.
        url: Url,
    },
    /// The token can't be sent.
    #[error("the token has characters that no token has")]
    Token,
    /// The path is none.
    #[error("`{path}` is not a path")]
    Path {
        /// The path.
        path: String,
    },
    /// The other side broke off, or does not speak HTTP.
    #[error("the call broke off")]
    Broken(#[source] hyper::Error),
    /// The answer is larger than what is read.
    #[error("the answer is over the limit of {limit}")]
    TooLarge {
        /// The limit.
        limit: ByteSize,
    },
    /// It took too long.
    #[error("no answer within {} ms", within.as_millis())]
    TimedOut {
        /// The time that it had.
        within: Duration,
    },
}

impl Line {
    /// Connects, to the first address of the host that takes the connection.
    ///
    /// # Errors
    /// [`CallError`]: nothing was asked yet.
    pub async fn open(url: &Url, tls: Option<&Connector>, env: &Env) -> Result<Self, CallError> {
        match (url.scheme(), tls) {
            (Scheme::Http, _) => Self::start(connect(url, env).await?, url, env).await,
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
                Self::start(stream, url, env).await
            }
        }
    }

    async fn start<S>(stream: S, url: &Url, env: &Env) -> Result<Self, CallError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = http1::Builder::new().handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(CallError::Broken)?;
        let connection = env.spawn("line to a control listener", async move {
            // Whoever waits for an answer is told by its call.
            let _broken = connection.await;
        });
        Ok(Self {
            sender,
            connection,
            url: url.clone(),
            env: env.clone(),
            authorization: None,
            announces_end: false,
        })
    }

    /// Shows this token with every call from now on.
    ///
    /// # Errors
    /// [`CallError::Token`] if it has characters that no token has.
    pub fn authorize(&mut self, token: &str) -> Result<(), CallError> {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| CallError::Token)?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(())
    }

    /// Asks, and waits for the whole answer, `within` in all.
    ///
    /// # Errors
    /// [`CallError`]: the line is of no more use.
    ///
    /// # Cancellation
    /// The call may have been carried out, and the line is of no more use.
    pub async fn call(&mut self, call: Call, within: Duration) -> Result<Answer, CallError> {
        let env = self.env.clone();
        let whole = async {
            let response = self.send(call).await?;
            let status = response.status();
            let body = collect(response.into_body()).await?;
            Ok(Answer { status, body })
        };
        let answered = env.timeout(within, whole).await;
        answered.map_err(|_| CallError::TimedOut { within })?
    }

    /// Asks, and reads no more of the answer than its status. The line is used up.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn status(mut self, call: Call, within: Duration) -> Result<StatusCode, CallError> {
        let env = self.env.clone();
        let answered = env.timeout(within, self.send(call)).await;
        let response = answered.map_err(|_| CallError::TimedOut { within })??;
        Ok(response.status())
    }

    /// Resolves when the other side has closed the line without having said before, with
    /// its last answer, that it would. Cancel-safe.
    pub async fn closed(&mut self) {
        if self.announces_end {
            std::future::pending::<()>().await;
        }
        (&mut self.connection).await;
    }

    /// Whether another call can be made.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.announces_end
    }

    async fn send(&mut self, call: Call) -> Result<Response<Incoming>, CallError> {
        let Call { method, path, body } = call;
        let target = format!("{}{path}", self.url.path());
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, self.url.authority())
            .header(header::USER_AGENT, AGENT);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, JSON);
        }
        let body = Full::new(body.unwrap_or_default());
        let request = request.body(body).map_err(|_| CallError::Path { path })?;
        self.sender.ready().await.map_err(CallError::Broken)?;
        let answered = self.sender.send_request(request).await;
        let response = answered.map_err(CallError::Broken)?;
        self.announces_end = announces_end(&response);
        Ok(response)
    }
}

/// Whether this answer is the last of its connection, in its own words.
fn announces_end(response: &Response<Incoming>) -> bool {
    let mut values = response.headers().get_all(header::CONNECTION).iter();
    values.any(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
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
                let _gone = stream.set_nodelay(true);
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

async fn collect(mut body: Incoming) -> Result<Bytes, CallError> {
    let max = usize::try_from(ANSWER_MAX.as_bytes()).unwrap_or(usize::MAX);
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(CallError::Broken)?.into_data() else {
            continue;
        };
        if whole.len().saturating_add(data.len()) > max {
            return Err(CallError::TooLarge { limit: ANSWER_MAX });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
