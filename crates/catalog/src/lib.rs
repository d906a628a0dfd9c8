//! Folds what every source says into one catalogue: contract, fold, guard, journal.
//!
//! Sources speak four words ([`Change`](portolan_model::Change)) into their own inbox. The
//! [`Fold`] takes them in one at a time, lets the guard hold what would remove too
//! much by inference, and keeps an immutable [`Catalog`] that readers clone cheaply.
//! Everything but the inboxes is pure: time is an argument.

mod catalog;
mod fold;
mod guard;
mod inbox;
mod journal;
mod shards;
mod source;
mod witness;

pub use catalog::{Catalog, Conflict, Service, SourceStatus, Staleness};
pub use fold::{Applied, Bequest, Fold, Judgement, News, Resolution, Ruled, Saying, Seen, Word};
pub use guard::{
    Absence, Cause, Evidence, FlapStatus, GuardReport, GuardSettings, HoldStatus, Keeping, Scope,
    Selector, Sign, Totals, Traces,
};
pub use inbox::{
    Arrival, Failure, INBOX_CHANGES_MAX, Inbox, InboxClosed, InboxHub, Inflow, Pulse, PulseReport,
    Pulses, Recollection, SAMPLING, Ticket, Turn, inboxes,
};
pub use journal::{
    BadLine, Before, Forgotten, Gap, JOURNAL_ENTRIES_MAX, JOURNAL_WEIGHT_MAX, Journal,
    LINE_BYTES_MAX, Line, Past,
};
pub use source::{ParseSource, Source, SourceKind, SourceRun, SourceSpec};
pub use witness::{Settled, Settling, Witness};
