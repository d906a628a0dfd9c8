//! Instances that register with us: leases, health checks and the native API.
//!
//! The [`core`] decides, the [`Desk`] speaks for it to the catalogue and the [`Registry`]
//! to callers, the [`check`] module probes whoever has a check, [`watch`] follows the
//! merged catalogue, and each [`front`] is a protocol.

mod archive;
pub mod check;
mod command;
pub mod core;
mod desk;
pub mod front;
mod keeper;
mod per_instance;
mod reader;
mod registry;
mod settling;
mod shared;
mod signs;
mod succession;
pub mod watch;

pub use archive::{Archive, Reading};
pub use desk::Desk;
pub use keeper::Stored;
pub(crate) use per_instance::PerService;
pub use per_instance::{Keepable, PerArc, PerInstance};
pub use reader::{Follow, Following, Published, Reader};
pub use registry::{Kept, Left, Orders, Parts, Registry, RegistryError};
