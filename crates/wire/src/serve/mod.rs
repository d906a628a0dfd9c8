//! The server of control listeners: admin, registry fronts, status.
//!
//! Control traffic is small and must never hurt the data plane, so it runs on hyper and
//! everything is bounded: connections, heads, bodies, and the time that a peer may take.
//! A browser that was talked into calling us is refused by Host and Origin, a panic in a
//! handler is a 500, and a drain lets every answer that has begun come to its end.

mod alarm;
mod answer;
mod body;
mod connection;
mod crowd;
mod greeting;
mod guard;
mod requests;
#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use portolan_model::ByteSize;
use portolan_runtime::{Env, drain::DrainWatch};
use tokio::{net::TcpListener, sync::Semaphore};

pub use answer::{json, method_not_allowed, problem};
pub use body::{Body, BodyError, CollectError, collect, empty, full, streamed, while_allowed};
pub use guard::Hosts;
pub use portolan_model::query::{BadEncoding, Query, decode};

use connection::Connection;
use crowd::Crowd;

use crate::tls::ServerTls;

/// How long accepting rests when the system has no descriptors left.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A request to a control listener. Its extensions hold the [`Peer`].
pub type Request = http::Request<Body>;
/// The answer of a control listener.
pub type Response = http::Response<Body>;
/// An answer, later.
pub type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A listener that is served, until it isn't.
pub type Serving = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Who sent a request, as the socket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// The address that the request came to, if the system says.
    pub local: Option<SocketAddr>,
}

/// The names that the client's certificate carries, if it showed one that is good; among
/// the extensions of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedNames(pub Arc<[String]>);

/// Answers the requests of a control listener.
pub trait Handler: Send + Sync {
    /// Called once a request, from any thread; must not block. The future is dropped when
    /// the client goes away. A panic, here or in the future, becomes a 500.
    fn handle(&self, request: Request) -> Answering;
}

/// What a control listener allows.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a client may cost.
    pub limits: Limits,
    /// The host names that are answered to.
    pub hosts: Hosts,
    /// TLS, or none for plain text.
    pub tls: Option<Arc<ServerTls>>,
}

/// What a client of a control listener may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request line and headers together.
    pub head: ByteSize,
    /// Header fields of a request.
    pub headers: usize,
    /// A request's body.
    pub body: ByteSize,
    /// Connections of the listener; one more is closed at once.
    pub connections: usize,
    /// Connections of one client; one more is closed at once.
    pub connections_per_client: PerClient<usize>,
    /// Until a whole head has come, on a new connection or after the last answer.
    pub head_timeout: Duration,
    /// Between two pieces of a body, in either direction.
    pub stall_timeout: Duration,
}

/// A limit of each client by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerClient<T> {
    /// The limit.
    pub limit: T,
    /// Whether it holds for clients on this machine as well: they all have one address.
    pub includes_this_machine: bool,
}

impl<T> PerClient<T> {
    /// The limit of a client at that address, if it has one.
    pub fn of(self, client: IpAddr) -> Option<T> {
        let is_here = client.to_canonical().is_loopback();
        (self.includes_this_machine || !is_here).then_some(self.limit)
    }
}

impl Limits {
    fn head_bytes(&self) -> usize {
        usize::try_from(self.head.as_bytes()).unwrap_or(usize::MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: ByteSize::from_bytes(32 << 10),
            headers: 100,
            body: ByteSize::from_bytes(1 << 20),
            connections: 4096,
            connections_per_client: PerClient {
                limit: 512,
                includes_this_machine: false,
            },
            head_timeout: Duration::from_mins(1),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

/// Serves a listener until the drain starts; connections then finish the answer that they
/// are in. The listener must not block.
///
/// # Errors
/// The system's, if the listener can't be watched.
///
/// # Cancellation
/// Dropping the future stops accepting; connections go on.
#[must_use]
pub fn serve(
    listener: std::net::TcpListener,
    handler: Arc<dyn Handler>,
    settings: Settings,
    drain: DrainWatch,
    env: Env,
) -> Serving {
    // In a box, so that connections are compiled here and not by whoever serves.
    Box::pin(accept(listener, handler, settings, drain, env))
}

async fn accept(
    listener: std::net::TcpListener,
    handler: Arc<dyn Handler>,
    settings: Settings,
    mut drain: DrainWatch,
    env: Env,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(settings.limits.connections));
    let crowd = Crowd::default();
    let settings = Arc::new(settings);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.draining() => return Ok(()),
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "control listener can't accept");
                env.sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!(%peer, "control listener is full; connection closed");
            continue;
        };
        let limit = settings.limits.connections_per_client.of(peer.ip());
        let Ok(place) = crowd.admit(peer.ip(), limit) else {
            tracing::debug!(%peer, "client has as many connections as it may; connection closed");
            continue;
        };
        let connection = Arc::new(Connection {
            peer: Peer {
                address: peer,
                local: stream.local_addr().ok(),
            },
            handler: Arc::clone(&handler),
            settings: Arc::clone(&settings),
            env: env.clone(),
        });
        let drain = drain.clone();
        let served = async move {
            connection.serve(stream, drain).await;
            drop((place, permit));
        };
        env.spawn("control connection", served).detach();
    }
}

/// A handler that is one function.
impl<F, A> Handler for F
where
    F: Fn(Request) -> A + Send + Sync,
    A: Future<Output = Response> + Send + 'static,
{
    fn handle(&self, request: Request) -> Answering {
        Box::pin(self(request))
    }
}

/// What a service of hyper's can't fail with.
type Never = Infallible;
