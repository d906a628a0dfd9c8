//! HTTP/1 codec, HTTP/2, TLS, upstream connections; control listeners, served and called.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod call;
pub mod h1;
pub mod http2;
pub mod io;
pub mod proxy_protocol;
pub mod serve;
pub mod tls;
pub mod upstream;
