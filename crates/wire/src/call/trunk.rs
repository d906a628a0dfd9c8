//! One HTTP/2 connection to a control listener, for many calls at a time.
//!
//! Whoever has many questions that wait for long, such as blocking queries, would need a
//! connection for each of them with HTTP/1. A [`Trunk`] has a [`Lane`] for each instead, as
//! many as the server says that it takes at a time (RFC 9113, section 5.1.2). A lane is held
//! whether or not it is asked on, so that no question ever waits for another one's answer.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use h2::{PingPong, Reason, RecvStream, client};
use http::{HeaderMap, Version};
use portolan_model::ByteSize;
use portolan_runtime::{Env, Task};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{
    Answer, Call, CallError, Line, Scheme, Socket, Url,
    dial::{Dialled, dial_settled},
    line::{ANSWER_MAX, agent},
};
use crate::tls::Connector;

/// Lanes of a trunk, whatever more the server takes.
pub const LANES_MAX: usize = 100;
/// How long a server may take to say how many calls it takes.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a server is asked for a sign of life, and how long it may take.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Window of a connection, which all answers under way share.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Window of one answer.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Largest head of an answer.
const HEAD_BYTES_MAX: u32 = 64 << 10;

/// A connection that lanes share. It ends with the last one who holds it.
#[derive(Clone, Debug)]
pub struct Trunk {
    sender: client::SendRequest<Bytes>,
    lanes: Arc<Semaphore>,
    lanes_max: usize,
    connection: Arc<Task>,
    signs: Signs,
    url: Url,
    env: Env,
}

/// Whether anything was answered of late.
type Signs = Arc<AtomicBool>;

/// What came of connecting.
#[derive(Debug)]
pub enum Opened {
    /// The server speaks HTTP/2.
    Trunk(Trunk),
    /// Asked which it would rather speak, the server chose HTTP/1.
    Line(Line),
}

/// A place on a trunk: one call at a time.
#[derive(Debug)]
pub struct Lane {
    sender: client::SendRequest<Bytes>,
    _connection: Arc<Task>,
    _place: OwnedSemaphorePermit,
    signs: Signs,
    url: Url,
    env: Env,
    fields: HeaderMap,
    answer_max: ByteSize,
}

impl Trunk {
    /// Connects. Over TLS, the server is asked what it speaks, if the connector offers both;
    /// in the clear it must be known to speak HTTP/2, by prior knowledge (RFC 9113, section
    /// 3.3).
    ///
    /// # Errors
    /// [`CallError`]: nothing was asked yet. [`CallError::Http2`] if the server does not speak
    /// HTTP/2 in the clear.
    pub async fn open(url: &Url, tls: Option<&Connector>, env: &Env) -> Result<Opened, CallError> {
        let Dialled { socket, is_http2 } = Box::pin(dial_settled(url, tls, env)).await?;
        if !is_http2 && url.scheme() == Scheme::Https {
            return Ok(Opened::Line(Line::start(socket, url, env).await?));
        }
        let settled = env.timeout(SETTLE_TIMEOUT, Box::pin(Self::start(socket, url, env)));
        let late = |_| CallError::TimedOut {
            within: SETTLE_TIMEOUT,
        };
        Ok(Opened::Trunk(settled.await.map_err(late)??))
    }

    pub(super) async fn start(
        socket: Box<dyn Socket>,
        url: &Url,
        env: &Env,
    ) -> Result<Self, CallError> {
        let handshake = client::Builder::new()
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX)
            .initial_max_send_streams(0)
            .enable_push(false)
            .handshake::<_, Bytes>(socket);
        let (sender, connection) = handshake.await.map_err(CallError::Http2)?;
        let (settle, settled) = oneshot::channel();
        let signs = Signs::default();
        let driving = drive(connection, settle, Arc::clone(&signs), env.clone());
        let connection = env.spawn("trunk to a control listener", driving);
        let lanes_max = settled.await.unwrap_or(Err(no_http2()));
        let lanes_max = lanes_max.map_err(CallError::Http2)?.clamp(1, LANES_MAX);
        Ok(Self {
            sender,
            lanes: Arc::new(Semaphore::new(lanes_max)),
            lanes_max,
            connection: Arc::new(connection),
            signs,
            url: url.clone(),
            env: env.clone(),
        })
    }

    /// How many lanes it has.
    #[must_use]
    pub const fn lanes_max(&self) -> usize {
        self.lanes_max
    }

    /// Whether the connection is there and takes calls: a server that is about to close it
    /// says so (GOAWAY), and still answers what it was asked before.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let is_over = matches!(
            self.sender.clone().poll_ready(&mut context),
            Poll::Ready(Err(_))
        );
        !is_over && !self.connection.is_finished()
    }

    /// A lane, unless all are taken or the connection takes no more calls.
    #[must_use]
    pub fn lane(&self) -> Option<Lane> {
        if !self.is_open() {
            return None;
        }
        let place = Arc::clone(&self.lanes).try_acquire_owned().ok()?;
        Some(Lane {
            sender: self.sender.clone(),
            _connection: Arc::clone(&self.connection),
            _place: place,
            signs: Arc::clone(&self.signs),
            url: self.url.clone(),
            env: self.env.clone(),
            fields: agent(),
            answer_max: ANSWER_MAX,
        })
    }
}

impl Lane {
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
    /// [`CallError`]; the lane is of no more use if the connection broke off.
    ///
    /// # Cancellation
    /// The call may have been carried out; the lane can be asked on again.
    pub async fn call(&mut self, call: Call, within: Duration) -> Result<Answer, CallError> {
        let env = self.env.clone();
        let answered = env.timeout(within, self.ask(call)).await;
        answered.map_err(|_| CallError::TimedOut { within })?
    }

    async fn ask(&mut self, call: Call) -> Result<Answer, CallError> {
        let (mut head, body) = call.request(&self.url, &self.fields, Version::HTTP_2)?;
        *head.version_mut() = Version::HTTP_2;
        let ready = self.sender.clone().ready().await;
        let mut sender = ready.map_err(CallError::Http2)?;
        let sent = sender.send_request(head, body.is_empty());
        let (response, mut sending) = sent.map_err(CallError::Http2)?;
        if !body.is_empty() {
            sending.send_data(body, true).map_err(CallError::Http2)?;
        }
        let (head, body) = response.await.map_err(CallError::Http2)?.into_parts();
        self.signs.store(true, Relaxed);
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: self.collect(body).await?,
        })
    }

    async fn collect(&self, mut body: RecvStream) -> Result<Bytes, CallError> {
        let limit = self.answer_max;
        let max = usize::try_from(limit.as_bytes()).unwrap_or(usize::MAX);
        let mut whole = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data.map_err(CallError::Http2)?;
            self.signs.store(true, Relaxed);
            if whole.len().saturating_add(data.len()) > max {
                return Err(CallError::TooLarge { limit });
            }
            whole.extend_from_slice(&data);
            let released = body.flow_control().release_capacity(data.len());
            released.map_err(CallError::Http2)?;
        }
        Ok(whole.freeze())
    }
}

/// Runs a connection to its end; says once how many calls the server takes at a time, or why
/// it never said that.
async fn drive(
    mut connection: client::Connection<Box<dyn Socket>, Bytes>,
    settle: oneshot::Sender<Result<usize, h2::Error>>,
    signs: Signs,
    env: Env,
) {
    let pings = connection.ping_pong();
    let mut connection = pin!(connection);
    let mut settle = Some(settle);
    let running = poll_fn(|cx| {
        let polled = connection.as_mut().poll(cx);
        let most = connection.max_concurrent_send_streams();
        let is_known = most > 0 || polled.is_ready();
        let Some(settle) = settle.take_if(|_| is_known) else {
            return polled;
        };
        let (settled, polled) = match polled {
            Poll::Ready(ended) => {
                let why = ended.err().unwrap_or_else(no_http2);
                (Err(why), Poll::Ready(Ok(())))
            }
            Poll::Pending => (Ok(most), Poll::Pending),
        };
        // Whoever does not wait any more drops the connection.
        let _unheard = settle.send(settled);
        polled
    });
    let alive = async {
        match pings {
            Some(pings) => ping(pings, &signs, &env).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = running => {
            if let Err(error) = ended {
                tracing::debug!(%error, "trunk to a control listener broke off");
            }
        }
        () = alive => tracing::debug!("trunk to a control listener is silent"),
    }
}

/// Resolves when the server has answered nothing in time, neither a ping nor a call. A ping
/// may have to wait for answers that are large.
async fn ping(mut pings: PingPong, signs: &AtomicBool, env: &Env) {
    loop {
        env.sleep(PING_INTERVAL).await;
        if signs.swap(false, Relaxed) {
            continue;
        }
        let mut answered = pin!(pings.ping(h2::Ping::opaque()));
        loop {
            match env.timeout(PING_TIMEOUT, answered.as_mut()).await {
                Ok(Ok(_)) => break,
                Err(_) if signs.swap(false, Relaxed) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }
}

/// For one that said nothing and ended in good order.
fn no_http2() -> h2::Error {
    Reason::HTTP_1_1_REQUIRED.into()
}
