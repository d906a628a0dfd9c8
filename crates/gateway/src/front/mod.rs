//! The client's side: a connection from its first byte to its last.

mod http1;
mod http2;
mod open;

pub(crate) use open::open;
