//! A client's HTTP/2 connection, shared by the requests of one worker.

use std::{
    cell::{Cell, OnceCell},
    error::Error,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client};
use http::Response;
use portolan_runtime::{Env, Task};

use super::pipe::Pipe;
use crate::{
    io::{Buffers, Stream},
    upstream::Berth,
};

/// Window of a connection: what many streams share.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Window of a stream.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Largest head that an instance may answer with.
const HEAD_BYTES_MAX: u32 = 64 << 10;
/// Streams that the other side can have reset before they are forgotten.
const RESET_STREAMS_MAX: usize = 64;

/// Why a request could not be put on a connection.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP/2 connection failed")]
pub struct ClientError {
    /// What happened.
    #[source]
    pub source: h2::Error,
    /// Whether the instance has surely not looked at the request.
    pub unsent: bool,
}

/// A shared connection. Clones use the same one.
#[derive(Clone, Debug)]
pub struct Client {
    send: client::SendRequest<Bytes>,
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    closed: Cell<bool>,
    open: Cell<u32>,
    driver: OnceCell<Task>,
    _berth: Berth,
}

/// An answer on its way.
#[derive(Debug)]
pub struct Reply {
    response: client::ResponseFuture,
    open: Rc<Shared>,
}

impl Client {
    /// Shakes hands over a stream.
    ///
    /// # Errors
    /// [`ClientError`]: the other side does not speak HTTP/2.
    pub async fn connect(
        stream: Stream,
        buffers: &Rc<Buffers>,
        berth: Berth,
        env: &Env,
    ) -> Result<Self, ClientError> {
        let unsent = |source| ClientError {
            source,
            unsent: true,
        };
        let pipe = Pipe::new(stream, Rc::clone(buffers));
        let (send, connection) = client::Builder::new()
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_concurrent_reset_streams(RESET_STREAMS_MAX)
            .enable_push(false)
            .handshake::<_, Bytes>(pipe.clone())
            .await
            .map_err(unsent)?;
        let shared = Rc::new(Shared {
            closed: Cell::new(false),
            open: Cell::new(0),
            driver: OnceCell::new(),
            _berth: berth,
        });
        let watch = Rc::downgrade(&shared);
        let driver = env.spawn_local("http2 upstream", async move {
            if let Err(error) = drive(connection, &pipe).await {
                tracing::debug!(%error, "upstream connection ended");
            }
            if let Some(shared) = watch.upgrade() {
                shared.closed.set(true);
            }
        });
        // The connection ends with the last client of it.
        let _first = shared.driver.set(driver);
        Ok(Self { send, shared })
    }

    /// Whether no further request can use it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.get()
    }

    /// Requests under way on it.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.shared.open.get()
    }

    /// Whether the other side allows another request at this time.
    #[must_use]
    pub fn has_room(&self) -> bool {
        (self.open() as usize) < self.send.current_max_send_streams()
    }

    /// Whether the other side has said that it takes an extended CONNECT (RFC 8441).
    #[must_use]
    pub fn takes_connect(&self) -> bool {
        self.send.is_extended_connect_protocol_enabled()
    }

    /// Puts a request on the connection, waiting for a free stream.
    ///
    /// # Errors
    /// [`ClientError`], which says whether the request may go elsewhere.
    pub async fn send(
        &mut self,
        request: http::Request<()>,
        end: bool,
    ) -> Result<(Reply, SendStream<Bytes>), ClientError> {
        let unsent = |source| ClientError {
            source,
            unsent: true,
        };
        poll_fn(|cx| self.send.poll_ready(cx))
            .await
            .map_err(unsent)?;
        let (response, stream) = self.send.send_request(request, end).map_err(unsent)?;
        self.shared
            .open
            .set(self.shared.open.get().saturating_add(1));
        Ok((
            Reply {
                response,
                open: Rc::clone(&self.shared),
            },
            stream,
        ))
    }
}

/// Runs a connection to its end. What it has to say to the wakes of one turn goes out together.
async fn drive(
    mut connection: client::Connection<Pipe, Bytes>,
    pipe: &Pipe,
) -> Result<(), Box<dyn Error>> {
    pipe.gather();
    poll_fn(|cx| {
        if let Poll::Ready(end) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(end.map_err(Into::into));
        }
        match pipe.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    })
    .await
}

impl Reply {
    /// The answer's head, or an interim one.
    ///
    /// # Errors
    /// [`ClientError`]; a refused stream was not looked at.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<Option<RecvStream>>, ClientError>> {
        if let Poll::Ready(Some(interim)) = self.response.poll_informational(cx) {
            let interim = interim.map_err(failed)?;
            return Poll::Ready(Ok(interim.map(|()| None)));
        }
        let response = ready!(Pin::new(&mut self.response).poll(cx)).map_err(failed)?;
        Poll::Ready(Ok(response.map(Some)))
    }
}

fn failed(source: h2::Error) -> ClientError {
    let unsent = source.reason() == Some(h2::Reason::REFUSED_STREAM)
        || (source.is_go_away()
            && source.is_remote()
            && source.reason() == Some(h2::Reason::NO_ERROR));
    ClientError { source, unsent }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.open.open.set(self.open.open.get().saturating_sub(1));
    }
}
