//! TLS on both sides: rustls, its certificates and what went wrong.
//!
//! [`ServerTls`] answers clients with the certificate that fits the name they ask
//! for; [`ClientTls`] keeps one client configuration for each distinct setting of an
//! upstream, because building one reads files and a shared one resumes sessions.
//! Both swap their certificates while connections run: a handshake takes what is
//! current when it begins, and nothing is torn down.
//!
//! Cryptography is ring's. Files are read here, when told to; who watches them
//! calls `reload`.

mod certificates;
mod client;
mod clients;
mod failure;
mod files;
mod server;
#[cfg(test)]
mod tests;

pub use certificates::Concern;
pub use client::{BadServerName, ClientTls, Connector};
pub use clients::{ClientAuthority, Demand, names_of};
pub use failure::{TlsFailure, registry_tls_failure, tls_failure};
pub use files::TlsFileError;
pub use server::{Alpn, Reloaded, ServerSettings, ServerTls, Versions};

/// ALPN's word for HTTP/2.
pub const ALPN_HTTP2: &[u8] = b"h2";
/// ALPN's word for HTTP/1.1.
pub const ALPN_HTTP1: &[u8] = b"http/1.1";
/// ALPN's word for DNS over TLS (RFC 7858).
pub const ALPN_DOT: &[u8] = b"dot";
