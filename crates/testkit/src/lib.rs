//! Builders, virtual clock and fake upstreams for tests.

mod authority;
mod scratch;

pub use authority::{Authority, Issued, Validity};
pub use scratch::Scratch;
