//! PROXY protocol, versions 1 and 2: who really is at the other end of a connection.
//!
//! A header is believed only from peers that the configuration trusts, so it is
//! read strictly: one that two implementations could read differently is refused.
//! Additional values (TLV) are skipped within the limit, but a checksum among them
//! is verified.
//!
//! Source: `proxy-protocol.txt` of `HAProxy`, sections 2.1, 2.2 and 2.2.3.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::h1::Parsed;

mod crc32c;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

pub use v1::write_v1;
pub use v2::write_v2;

/// What precedes a proxied connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes that the header takes.
    pub bytes: usize,
    /// Source and destination; `None` when the proxy speaks for itself (LOCAL) or does not
    /// know (UNKNOWN, Unix sockets).
    pub addresses: Option<(SocketAddr, SocketAddr)>,
}

/// A connection that does not begin with an acceptable header. The peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// The connection begins with something else.
    #[error("no PROXY header")]
    Absent,
    /// The header breaks its grammar.
    #[error("malformed PROXY header: {0}")]
    Malformed(&'static str),
    /// The header is larger than 107 bytes in version 1, or 4 KiB in version 2.
    #[error("the PROXY header is too large")]
    TooLarge,
    /// The checksum is another than that of the bytes.
    #[error("the checksum of the PROXY header is wrong")]
    Checksum,
}

/// Most bytes of a header of version 1, with its CRLF (section 2.1).
const V1_BYTES_MAX: usize = 107;

/// Most bytes of a header of version 2, with its TLVs; certificates may be among them.
const V2_BYTES_MAX: usize = 4 << 10;

/// Reads the header at the start of `input`.
///
/// # Errors
/// [`BadHeader`]; the connection is to be closed, unless a header is optional and
/// [`BadHeader::Absent`].
pub fn parse(input: &[u8]) -> Result<Parsed<Header>, BadHeader> {
    if begins(input, v2::SIGNATURE) {
        return if input.len() < v2::SIGNATURE.len() {
            Ok(Parsed::Partial)
        } else {
            v2::parse(input)
        };
    }
    if begins(input, v1::SIGNATURE) {
        return if input.len() < v1::SIGNATURE.len() {
            Ok(Parsed::Partial)
        } else {
            v1::parse(input)
        };
    }
    Err(BadHeader::Absent)
}

/// Whether `input` begins with `signature`, or is the beginning of it.
fn begins(input: &[u8], signature: &[u8]) -> bool {
    input.iter().zip(signature).all(|(a, b)| a == b)
}

/// An address as IPv6, for a header whose two addresses are of two families.
fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
