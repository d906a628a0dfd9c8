//! Sources that read what starts containers.
//!
//! Each is a folder as on the shelf of [`portolan_sources`], whose frame they share.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod docker;
#[cfg(test)]
mod hostile;
mod kubernetes;
mod lines;

use portolan_catalog::SourceKind;

/// Every kind of source of this crate, in the order of the reference.
pub const KINDS: &[SourceKind] = &[docker::KIND, kubernetes::KIND];
