//! PROXY protocol, versions 1 and 2: who really is at the other end of a connection.

use std::net::SocketAddr;

use crate::h1::Parsed;

/// What precedes a proxied connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes that the header takes.
    pub bytes: usize,
    /// Source and destination; `None` when the proxy speaks for itself or does not know.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
}

/// A connection that does not begin with an acceptable header. The peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// The connection begins with something else.
    #[error("no PROXY header")]
    Absent,
}

/// Reads the header at the start of `input`.
///
/// # Errors
/// [`BadHeader`]; the connection is to be closed, unless the header is optional and absent.
pub fn parse(_input: &[u8]) -> Result<Parsed<Header>, BadHeader> {
    Err(BadHeader::Absent)
}

/// Writes a header of version 1.
pub fn write_v1(_out: &mut Vec<u8>, _source: SocketAddr, _destination: SocketAddr) {}

/// Writes a header of version 2.
pub fn write_v2(_out: &mut Vec<u8>, _source: SocketAddr, _destination: SocketAddr) {}
