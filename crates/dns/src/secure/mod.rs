//! Queries that nobody on the way can read: over TLS (RFC 7858) and over HTTPS (RFC 8484).

mod https;
mod tls;

pub use https::{Https, PATH};
pub use tls::{TlsSettings, serve_tls};
