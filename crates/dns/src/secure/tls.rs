//! Queries over TLS: a listener of its own, the framing of TCP.
//!
//! Source: RFC 7858; RFC 8310; RFC 7766.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portolan_runtime::{Env, drain::DrainWatch};
use portolan_wire::{serve::PerClient, tls::ServerTls};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    Answerer, Peer, Transport,
    serve::{Room, Stay},
};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long accepting rests when the system has no descriptors left.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How long answers that are under way may take to end when the listener closes.
const CLOSING: Duration = Duration::from_millis(500);

/// What a listener for queries over TLS allows.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Its certificates.
    pub tls: Arc<ServerTls>,
    /// Connections at a time; one more takes the place of the longest silent.
    pub connections_max: usize,
    /// Connections of one client; one more is closed at once.
    pub per_client: PerClient<usize>,
}

/// Answers on a listener until the drain starts, which waits for the connections and for this.
/// The listener must not block.
///
/// # Errors
/// The system's, if the listener can't be watched.
///
/// # Cancellation
/// Dropping the future stops accepting; connections go on.
pub async fn serve_tls(
    listener: std::net::TcpListener,
    answerer: Answerer,
    settings: TlsSettings,
    mut drain: DrainWatch,
    env: Env,
) -> io::Result<()> {
    let _hold = drain.hold();
    let listener = TcpListener::from_std(listener)?;
    let most = settings.connections_max;
    let room = Room::new(most, Some(settings.per_client), env.instant());
    let room = Arc::new(room);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.draining() => return Ok(()),
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the listener for queries over TLS can't accept");
                env.sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let Some(seat) = room.enter(address.ip(), env.instant()) else {
            tracing::debug!(%address, "no room for one more connection of that client by TLS");
            continue;
        };
        let connection = Connection {
            answerer: answerer.clone(),
            tls: Arc::clone(&settings.tls),
            address,
            env: env.clone(),
        };
        let stay = Stay::new(drain.clone(), seat);
        env.spawn("dns over tls", connection.serve(stream, stay))
            .detach();
    }
}

struct Connection {
    answerer: Answerer,
    tls: Arc<ServerTls>,
    address: SocketAddr,
    env: Env,
}

impl Connection {
    async fn serve(self, stream: TcpStream, stay: Stay) {
        let mut drain = stay.drain.clone();
        let local = stream.local_addr().map(|address| address.ip());
        let local = local.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let (peer, env) = (self.address, self.env.clone());
        let answered = async {
            stream.set_nodelay(true)?;
            let shaking = self.env.timeout(HANDSHAKE, self.tls.accept(stream));
            let shaken = tokio::select! {
                shaken = shaking => shaken,
                () = stay.seat.sent_away() => return Ok(()),
            };
            let stream = shaken.map_err(|_| io::ErrorKind::TimedOut)??;
            let peer = Peer {
                address: self.address,
                transport: Transport::Stream,
            };
            let way = (peer, local.to_canonical());
            self.answerer.serve(stream, way, stay).await
        };
        let closed = async {
            drain.draining().await;
            env.sleep(CLOSING).await;
        };
        tokio::select! {
            answered = answered => if let Err(error) = answered {
                tracing::debug!(%peer, %error, "a connection for queries over TLS failed");
            },
            () = closed => {}
        }
    }
}
