//! What the server asks others for: updates, and what stands in the ledger. The program
//! implements these.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use portolan_forwarder::{Later, Peer};

/// Takes dynamic updates (RFC 2136). Called for each, from any worker.
pub trait Updates: Send + Sync {
    /// The whole answer to a whole message; none if it gets no answer.
    fn update(&self, message: Bytes, peer: Peer) -> Later<'_, Option<Bytes>>;
}

/// What is asked for could not be found out, which says nothing about whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it could not be found out")]
pub struct Unknown;

/// Knows nodes and prepared queries. Called for each query of such a name, from any worker;
/// must bound how much it has under way. A failure is answered as one (SERVFAIL).
pub trait Directory: Send + Sync {
    /// The node of that name.
    fn node<'a>(&'a self, name: &'a str) -> Later<'a, Result<Option<Node>, Unknown>>;

    /// What the prepared query of that name or id finds for a client.
    fn query<'a>(
        &'a self,
        name: &'a str,
        client: IpAddr,
    ) -> Later<'a, Result<Option<Found>, Unknown>>;
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its IP address, or the name that it goes by.
    pub address: String,
    /// What is said of it.
    pub meta: BTreeMap<String, String>,
}

/// What a prepared query found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where instances listen and their weights.
    pub instances: Vec<(SocketAddr, u16)>,
    /// How long the answer may be kept, in seconds, if the query says.
    pub ttl: Option<u32>,
}
