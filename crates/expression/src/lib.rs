//! Languages of conditions that people write into requests: pure, bounded, checked first.
//!
//! [`bexpr`] is the language of Consul's `filter` parameter.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod bexpr;
