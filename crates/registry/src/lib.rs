//! Instances that register with us: leases, health checks and the native API.
//!
//! The [`core`] decides, the [`Registry`] speaks for it to the catalogue and to callers,
//! the [`check`] module probes whoever asks for it, and each [`front`] is a protocol.

pub mod core;
