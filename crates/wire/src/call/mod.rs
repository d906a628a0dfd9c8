//! Calls to control listeners, ours and others': small requests with small answers.
//!
//! A [`Line`] is one connection that carries one call at a time. Whoever keeps it open is
//! told when the other side closes it, which is the soonest sign that a server went away.
//! Everything is bounded: the time of a connection and of a call, and the size of an
//! answer. A [`Trunk`] carries many calls at a time, where the server speaks HTTP/2. Nothing is retried here, since only the caller knows what may be sent twice.

mod dial;
mod line;
mod stream;
#[cfg(test)]
mod tests;
mod trunk;
mod url;

pub use dial::{Socket, dial};
pub use line::{Answer, Call, CallError, Line};
pub use stream::Stream;
pub use trunk::{LANES_MAX, Lane, Opened, Trunk};
pub use url::{BadUrl, Scheme, Url};
