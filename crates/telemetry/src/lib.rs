//! What requests leave behind: numbers for dashboards, lines for people.
//!
//! One finished request is an [`Outcome`], counted in [`Meters`], and, if an access
//! log is on, a [`Record`] that [`AccessLog`] writes. Both are made on the stack;
//! neither can fail or wait, because nobody may wait for a statistician.

mod access;
mod log_fields;
mod meters;
mod process;
mod record;

pub use access::{AccessLog, AccessWriter, Destination, Format, OpenError};
pub use log_fields::{LOG_FIELDS, LogField};
pub use meters::{
    Count, DnsFacts, Facts, Family, Gauge, GuardFacts, Kind, LedgerFacts, Meters, Row, SourceFacts,
    WorkerMeters, families,
};
pub use process::Usage;
pub use record::{Outcome, Record, Timers};
