//! Sources that read coordination services and registries over protocols of their own.
//!
//! Each is a folder as on the shelf of [`portolan_sources`], whose frame they share.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod consul;
mod etcd;
mod grpc;
mod held;
mod hostile;
mod labels;
mod nacos;
mod secret;
#[cfg(test)]
#[path = "../../sources/src/testing.rs"]
#[expect(dead_code, reason = "the shelf's own tests need more of it")]
mod testing;
#[cfg(test)]
mod world;
mod zookeeper;

pub use hostile::read_anything;
use portolan_catalog::SourceKind;

/// Every kind of source of this crate, in the order of the reference.
pub const KINDS: &[SourceKind] = &[consul::KIND, etcd::KIND, zookeeper::KIND, nacos::KIND];
