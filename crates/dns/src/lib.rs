//! The DNS server.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod forward;
pub mod update;
