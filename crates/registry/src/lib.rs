//! Instances that register with us: leases, health checks and the native API.
//!
//! The [`core`] decides, the [`Registry`] speaks for it to the catalogue and to callers,
//! the [`check`] module probes whoever has a check,
//! [`watch`] follows the merged
//! catalogue, and each [`front`] is a protocol.

pub mod check;
pub mod core;
pub mod front;
mod reader;
mod registry;
pub mod watch;

pub use reader::{Follow, Following, Published, Reader};
pub use registry::{Desk, Kept, Left, Orders, Parts, Registry, RegistryError};
