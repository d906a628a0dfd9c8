//! What the server asks of others for names that are not its own.

use std::{future::Future, net::SocketAddr, pin::Pin};

use bytes::Bytes;

/// Something that takes a while.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// From where.
    pub address: SocketAddr,
    /// By what.
    pub transport: Transport,
}

/// By what a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram: whoever sent it may be somebody else than it says.
    Udp,
    /// A connection, with TLS or without.
    Stream,
}

/// Answers queries for names that are in none of our zones. Called for each such query, from
/// any worker; may take its time, but must bound how much it has under way.
pub trait Beyond: Send + Sync {
    /// The whole answer to a whole query; none if it gets no answer.
    fn answer(&self, query: Bytes, peer: Peer) -> Later<'_, Option<Bytes>>;
}
