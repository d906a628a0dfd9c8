//! Picks an endpoint: slots, per-worker gauges, ejection and the algorithms.
//!
//! What is measured about an endpoint lives in a table of each worker, which only
//! that worker writes; a pick reads its own table and, relaxed, the others'. So no
//! two cores ever write one word on the request path.
//!
//! The shelf of algorithms is [`KINDS`]: one file each.

mod budget;
mod gauges;
mod kind;
mod latency;
mod marks;
mod owned;
mod pool;
mod random;
mod rendezvous;
mod round_robin;
mod shared;

pub use budget::Budget;
pub use gauges::{Board, InFlight, Millis, WorkerGauges};
pub use kind::{Balance, BalanceKind, BalanceSpec, KINDS, ParsedBalance, Turn};
pub use marks::Trace;
pub use pool::{Endpoint, Excluded, Pool, Slot, SlotTable, Terms};
pub use rendezvous::stick;
pub use shared::SharedGauges;
