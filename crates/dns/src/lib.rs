//! The DNS server: the names of services, answered from the snapshot.
//!
//! A table holds each service as it is answered, and is changed when a service is. Workers,
//! each one thread with its own sockets, read a query, look once into the table, and write the
//! answer into a buffer that they use again. What the table does not know, others do: names in
//! no zone of ours, dynamic updates, nodes and prepared queries.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod answer;
mod directory;
mod engine;
mod limiter;
mod meters;
pub mod secure;
mod serve;
mod settings;
#[cfg(test)]
mod tests;
pub mod update;
mod wire;
mod zone;

pub use directory::{Directory, Found, Node, Unknown, Updates};
pub use engine::Others;
pub use meters::Meters;
pub use portolan_forwarder::{Beyond, Later, Peer, Transport};
pub use serve::{Answerer, Dns, OpenError};
pub use settings::Gateway;
