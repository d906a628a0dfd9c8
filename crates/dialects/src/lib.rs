//! Wire shapes of registries, foreign and native, and their mapping to the model. Pure.
//!
//! A dialect knows bytes and words, not connections: servers and clients of a protocol
//! share it, so that they can't disagree.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod consul;
pub mod eureka;
pub mod native;
