//! One connection to a control listener, and the calls on it.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use portolan_model::ByteSize;
use portolan_runtime::{Env, Task};

use super::{
    Scheme, Socket, Url,
    dial::{dial, dial_path},
    stream::{Stream, collect},
};
use crate::tls::{BadServerName, Connector};

/// The largest answer that is read where nobody asked for more.
pub(super) const ANSWER_MAX: ByteSize = ByteSize::from_bytes(256 << 10);
const AGENT: HeaderValue = HeaderValue::from_static("portolan");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A connection to a control listener, for one call at a time.
#[derive(Debug)]
pub struct Line {
    sender: SendRequest<Full<Bytes>>,
    connection: Task,
    url: Url,
    pub(super) env: Env,
    /// Sent with every call.
    fields: HeaderMap,
    pub(super) answer_max: ByteSize,
    announces_end: bool,
}

/// What to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query, from the slash after the [`Url`]'s own path.
    pub path: String,
    /// Fields of this call; they win over those that every call has.
    pub headers: HeaderMap,
    /// A body, if there is one: JSON, unless a field says otherwise.
    pub body: Option<Bytes>,
}

/// What was answered, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Call {
    /// Asks for this.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..Self::default()
        }
    }

    /// The request as it is sent to that place, besides its body.
    pub(super) fn request(
        self,
        url: &Url,
        fields: &HeaderMap,
        version: Version,
    ) -> Result<(Request<()>, Bytes), CallError> {
        let Self {
            method,
            path,
            headers,
            body,
        } = self;
        let has_body = body.is_some();
        let target = format!("{}{path}", url.path());
        let request = Request::builder().method(method);
        let request = if version == Version::HTTP_2 {
            let scheme = match url.scheme() {
                Scheme::Http => "http",
                Scheme::Https => "https",
            };
            request.uri(format!("{scheme}://{}{target}", url.authority()))
        } else {
            request.uri(target).header(header::HOST, url.authority())
        };
        let mut request = request.body(()).map_err(|_| CallError::Path { path })?;
        let sent = request.headers_mut();
        if has_body {
            sent.insert(header::CONTENT_TYPE, JSON);
        }
        sent.extend(fields.clone());
        sent.extend(headers);
        Ok((request, body.unwrap_or_default()))
    }
}

/// Who calls.
pub(super) fn agent() -> HeaderMap {
    HeaderMap::from_iter([(header::USER_AGENT, AGENT)])
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
    /// The socket takes no connection.
    #[error("no connection to {}", path.display())]
    Socket {
        /// The socket's file.
        path: PathBuf,
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
    /// The other side broke off a call of many, or does not speak HTTP/2.
    #[error("the call broke off")]
    Http2(#[source] h2::Error),
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
        // Shaking hands takes more room than all calls that follow.
        let socket = Box::pin(dial(url, tls, env)).await?;
        Self::start(socket, url, env).await
    }

    /// Connects to a server on this machine by its socket; `url` is what it is told to be
    /// called.
    ///
    /// # Errors
    /// [`CallError::Socket`], or [`CallError::Broken`].
    ///
    /// # Cancellation
    /// Nothing was sent yet.
    pub async fn open_socket(path: &Path, url: &Url, env: &Env) -> Result<Self, CallError> {
        let socket = dial_path(path, env).await?;
        Self::start(socket, url, env).await
    }

    pub(super) async fn start(
        stream: Box<dyn Socket>,
        url: &Url,
        env: &Env,
    ) -> Result<Self, CallError> {
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
            fields: agent(),
            answer_max: ANSWER_MAX,
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
        self.fields.insert(header::AUTHORIZATION, value);
        Ok(())
    }

    /// Sends these with every call from now on, in place of those of the same names.
    #[must_use]
    pub fn with_fields(mut self, fields: HeaderMap) -> Self {
        self.fields.extend(fields);
        self
    }

    /// Reads answers up to this size.
    #[must_use]
    pub const fn with_answers_up_to(mut self, limit: ByteSize) -> Self {
        self.answer_max = limit;
        self
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
            let (head, body) = response.into_parts();
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: collect(body, self.answer_max).await?,
            })
        };
        let answered = env.timeout(within, whole).await;
        answered.map_err(|_| CallError::TimedOut { within })?
    }

    /// Asks, waits for the head of the answer, `within` in all, and hands on its body.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancellation
    /// The call may have been carried out, and the line is gone.
    pub async fn stream(mut self, call: Call, within: Duration) -> Result<Stream, CallError> {
        let env = self.env.clone();
        let answered = env.timeout(within, self.send(call)).await;
        let response = answered.map_err(|_| CallError::TimedOut { within })??;
        let (head, body) = response.into_parts();
        Ok(Stream {
            status: head.status,
            headers: head.headers,
            body,
            line: self,
        })
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
        let (head, body) = call.request(&self.url, &self.fields, Version::HTTP_11)?;
        let request = head.map(|()| Full::new(body));
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
