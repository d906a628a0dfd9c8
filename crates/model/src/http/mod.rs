//! HTTP heads, the same for HTTP/1, HTTP/2 and what follows.
//!
//! A head keeps its fields as one run of bytes with an index ([`Fields`]), as
//! they go over the wire of HTTP/1: a gateway mostly forwards them, and a hash
//! map per request costs more than it gives. Heads are made once per connection and refilled, so that a request on
//! a kept connection allocates nothing.

mod fields;
mod known;
mod line;
mod method;
mod request;
mod response;
mod stencil;
mod target;

pub use fields::{Field, FieldError, Fields, NAME_BYTES_MAX};
pub use known::{Known, KnownSet};
pub use method::Method;
pub use request::{RequestHead, Scheme, Version};
pub use response::{ResponseHead, Status};
pub use stencil::Stencil;
pub use target::{BadTarget, PathBuffer, normalise_authority};

/// Most bytes that a text keeps from one head for the next: a client that sent a large one
/// once must not hold them for good.
const KEPT_BYTES_MAX: usize = 16 << 10;

/// Empties a text that is used again.
fn forget(text: &mut String) {
    if text.capacity() > KEPT_BYTES_MAX {
        *text = String::new();
    }
    text.clear();
}
