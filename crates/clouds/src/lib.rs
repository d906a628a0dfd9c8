//! Sources that read the registries of clouds.
//!
//! Each is a folder as on the shelf of [`portolan_sources`], whose frame they share.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod cloud_map;
mod service_directory;

use portolan_catalog::SourceKind;

/// Every kind of source of this crate, in the order of the reference.
pub const KINDS: &[SourceKind] = &[cloud_map::KIND, service_directory::KIND];
