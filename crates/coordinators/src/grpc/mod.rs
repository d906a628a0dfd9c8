//! Calls over gRPC: one connection, calls and streams of messages on it.
//!
//! Only what discovery needs of it: no compression, no retries, no balancing; a source
//! knows which server it speaks to and says so. Everything is bounded: the time of a call,
//! the size of a message, and, where the server stands it, the time until a connection
//! that gives no sign of life is given up.
//!
//! Invariant: a message is decoded only when all of it is there and within its limit.
//! Source: gRPC over HTTP/2 (PROTOCOL-HTTP2 of the gRPC project), RFC 9113.

mod frames;
mod status;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use portolan_runtime::{Env, Task};
use portolan_wire::{
    call::{CallError, Url, dial},
    tls::Connector,
};
use prost::Message;

pub(crate) use frames::read_anything;
use frames::{Frames, framed};
pub(crate) use status::Status;

/// The largest message that is read.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// What a server may send before it is read.
const WINDOW_BYTES: u32 = 4 << 20;
/// How often the server is asked for a sign of life. Oftener is refused by etcd.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long a sign of life may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long shaking hands may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const AGENT: HeaderValue = HeaderValue::from_static("portolan");

/// Whether a connection is asked for signs of life while nothing is said on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    /// By PING frames.
    Ping,
    /// Not here: the server takes pings for an attack, and is asked in its own protocol.
    Never,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrpcError {
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] CallError),
    /// The other side broke off, or does not speak HTTP/2.
    #[error("the connection broke off")]
    Broken(#[source] h2::Error),
    /// It answers, but not in gRPC.
    #[error("it answered {0}, which is no gRPC")]
    NotGrpc(StatusCode),
    /// The server refuses.
    #[error(transparent)]
    Refused(#[from] Status),
    /// A message is larger than what is read.
    #[error("a message of {size} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    TooLarge {
        /// What it announces.
        size: usize,
    },
    /// A message is compressed, which nobody asked for.
    #[error("a message is compressed, which it must not be")]
    Compressed,
    /// A message is none.
    #[error("an answer can't be read")]
    Decode(#[from] prost::DecodeError),
    /// The stream ended before there was an answer.
    #[error("it ended without an answer")]
    Ended,
    /// The server owes a sign of life.
    #[error("it gives no sign of life")]
    Silent,
    /// It took too long.
    #[error("no answer within {} ms", within.as_millis())]
    TimedOut {
        /// The time that it had.
        within: Duration,
    },
}

/// A connection to one server.
#[derive(Debug)]
pub(crate) struct Channel {
    sender: client::SendRequest<Bytes>,
    /// Ends with the channel.
    _connection: Task,
    health: Health,
    base: String,
    env: Env,
    /// Sent with every call.
    fields: HeaderMap,
}

impl Channel {
    /// Connects.
    ///
    /// # Errors
    /// [`GrpcError`]: nothing was asked yet.
    pub(crate) async fn open(
        url: &Url,
        tls: Option<&Connector>,
        keep_alive: KeepAlive,
        env: &Env,
    ) -> Result<Self, GrpcError> {
        let socket = dial(url, tls, env).await?;
        let shaking = client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .enable_push(false)
            .handshake::<_, Bytes>(socket);
        let shaken = env.timeout(HANDSHAKE_TIMEOUT, shaking).await;
        let within = HANDSHAKE_TIMEOUT;
        let shaken = shaken.map_err(|_| GrpcError::TimedOut { within })?;
        let (sender, mut connection) = shaken.map_err(GrpcError::Broken)?;
        let pings = connection.ping_pong();
        let pings = pings.filter(|_| keep_alive == KeepAlive::Ping);
        let health = Health::default();
        let (clock, silent) = (env.clone(), health.clone());
        let connection = env.spawn("grpc channel", async move {
            // Whoever waits for an answer is told by its call.
            tokio::select! {
                _ended = connection => {}
                () = outlive(pings, clock) => silent.0.store(true, Relaxed),
            }
        });
        let host = match url.host() {
            host if host.contains(':') => format!("[{host}]"),
            host => host.to_owned(),
        };
        Ok(Self {
            sender,
            _connection: connection,
            health,
            base: format!("http://{host}:{}", url.port()),
            env: env.clone(),
            fields: HeaderMap::new(),
        })
    }

    /// Sends these with every call from now on.
    pub(crate) fn extend_fields(&mut self, fields: HeaderMap) {
        self.fields.extend(fields);
    }

    /// Asks once for one answer, `within` in all.
    ///
    /// # Errors
    /// [`GrpcError`].
    pub(crate) async fn call<A: Message + Default>(
        &mut self,
        method: &str,
        request: &impl Message,
        within: Duration,
    ) -> Result<A, GrpcError> {
        let env = self.env.clone();
        let asking = async {
            let mut stream = self.stream(method).await?;
            stream.send(request)?;
            stream.finish()?;
            let answer = stream.next().await?;
            answer.ok_or(GrpcError::Ended)
        };
        let answered = env.timeout(within, asking).await;
        answered.map_err(|_| GrpcError::TimedOut { within })?
    }

    /// Begins a call in which both sides say as much as they like.
    ///
    /// # Errors
    /// [`GrpcError`].
    pub(crate) async fn stream(&mut self, method: &str) -> Result<Stream, GrpcError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{method}", self.base))
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .header(header::TE, TRAILERS)
            .header(header::USER_AGENT, AGENT)
            .body(());
        // The host was part of a URL, and methods are constants.
        let mut request = request.map_err(|_| GrpcError::Ended)?;
        request.headers_mut().extend(self.fields.clone());
        let broken = |error| self.health.explain(error);
        let mut sender = self.sender.clone().ready().await.map_err(broken)?;
        let (answer, request) = sender.send_request(request, false).map_err(broken)?;
        Ok(Stream {
            health: self.health.clone(),
            request,
            answer: Some(answer),
            body: None,
            frames: Frames::default(),
        })
    }
}

/// Whether the connection was given up because the server was silent.
#[derive(Clone, Debug, Default)]
struct Health(Arc<AtomicBool>);

impl Health {
    fn explain(&self, error: h2::Error) -> GrpcError {
        if self.0.load(Relaxed) {
            return GrpcError::Silent;
        }
        GrpcError::Broken(error)
    }
}

/// Returns once the server owes a sign of life for too long.
async fn outlive(pings: Option<h2::PingPong>, env: Env) {
    let Some(mut pings) = pings else {
        return std::future::pending().await;
    };
    loop {
        env.sleep(PING_EVERY).await;
        let ping = pings.ping(h2::Ping::opaque());
        if !matches!(env.timeout(PING_TIMEOUT, ping).await, Ok(Ok(_))) {
            return;
        }
    }
}

/// A call under way.
#[derive(Debug)]
pub(crate) struct Stream {
    request: SendStream<Bytes>,
    answer: Option<client::ResponseFuture>,
    body: Option<RecvStream>,
    frames: Frames,
    health: Health,
}

impl Stream {
    /// Says something. Requests are small, so they are not waited for.
    ///
    /// # Errors
    /// [`GrpcError::Broken`] if the other side does not listen any more.
    pub(crate) fn send(&mut self, message: &impl Message) -> Result<(), GrpcError> {
        let frame = framed(message);
        let sent = self.request.send_data(frame, false);
        sent.map_err(|error| self.health.explain(error))
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// [`GrpcError::Broken`] if the other side does not listen any more.
    pub(crate) fn finish(&mut self) -> Result<(), GrpcError> {
        let sent = self.request.send_data(Bytes::new(), true);
        sent.map_err(|error| self.health.explain(error))
    }

    /// What came next; `None` when the server is done and well.
    ///
    /// # Errors
    /// [`GrpcError`]: the stream is of no more use.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub(crate) async fn next<A: Message + Default>(&mut self) -> Result<Option<A>, GrpcError> {
        if let Some(answer) = self.answer.as_mut() {
            let answer = answer.await.map_err(|error| self.health.explain(error))?;
            self.answer = None;
            self.body = Some(begun(answer)?);
        }
        let Some(body) = self.body.as_mut() else {
            return Ok(None);
        };
        loop {
            if let Some(message) = self.frames.take()? {
                return Ok(Some(A::decode(message)?));
            }
            let Some(data) = body.data().await else {
                break;
            };
            let data = data.map_err(|error| self.health.explain(error))?;
            // What is read makes room; a connection that is gone says so by its next data.
            let _gone = body.flow_control().release_capacity(data.len());
            self.frames.push(&data);
        }
        let trailers = body.trailers().await;
        let trailers = trailers.map_err(|error| self.health.explain(error))?;
        self.body = None;
        Status::of(trailers.as_ref().unwrap_or(&HeaderMap::new()))?;
        Ok(None)
    }
}

/// The body of an answer that began well.
fn begun(answer: http::Response<RecvStream>) -> Result<RecvStream, GrpcError> {
    let (head, body) = answer.into_parts();
    if head.status != StatusCode::OK {
        return Err(GrpcError::NotGrpc(head.status));
    }
    if head.headers.contains_key(status::CODE) {
        Status::of(&head.headers)?;
    }
    Ok(body)
}
