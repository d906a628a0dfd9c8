//! Connections to instances: dialled, shaken hands on, kept for the next request.

mod berth;
mod dial;
mod pool;

pub use berth::{Berth, Gate, Gates, Permit};
pub use dial::{Around, DialError, Dialled, Transport, dial};
pub use pool::{IDLE_MAX, Pool, PoolKey};
