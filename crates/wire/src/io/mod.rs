//! Bytes between two sockets: streams, links and the relay of bodies.
//!
//! A worker reads into one scratch buffer that all of its connections share, and
//! parses and writes from there. Only what can't be used at once is kept with a
//! connection, so that an idle connection holds no buffer and a busy one copies
//! next to nothing.

mod buffers;
mod link;
mod outlet;
mod relay;
mod stream;

pub use buffers::Buffers;
pub use link::{Link, LinkError};
pub use outlet::{BodyError, Outlet, PIPELINED_BYTES_MAX};
pub use relay::{Inlet, Relay, RelayError};
pub use stream::Stream;
