//! Languages of conditions that people write into requests: pure, bounded, checked first.
//!
//! [`bexpr`] is the language of Consul's `filter` parameter, [`cel`] the Common Expression
//! Language of our own API.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod bexpr;
pub mod cel;
mod quoted;
