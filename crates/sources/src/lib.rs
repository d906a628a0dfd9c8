//! The shelf of discovery sources.
//!
//! Each source is a folder: `settings` reads what a person wrote, `map` turns what
//! the outside says into instances and is pure, `watch` does the talking. A new one is
//! a folder and a word in [`KINDS`].

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod dns;
mod eureka;
mod file;
pub mod frame;
mod http;
mod portolan;
#[cfg(test)]
#[expect(dead_code, reason = "sources in other crates need more of it")]
mod testing;

use portolan_catalog::SourceKind;

pub use self::{dns::for_hosts, portolan::read_any_events};

/// Every kind of source, in the order of the reference.
pub const KINDS: &[SourceKind] = &[
    file::KIND,
    dns::KIND,
    eureka::KIND,
    portolan::KIND,
    http::KIND,
];
