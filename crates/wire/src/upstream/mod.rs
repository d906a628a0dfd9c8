//! Connections to instances: dialled, shaken hands on, kept for the next request.

mod dial;
mod pool;

pub use dial::{DialError, Dialled, Transport, dial};
pub use pool::{IDLE_MAX, Pool, PoolKey};
