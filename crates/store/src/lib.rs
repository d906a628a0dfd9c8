//! What survives a restart: the seams [`Facts`] and [`Ledger`], and an engine for both.
//!
//! `Facts` is the catalogue: small opaque records by key, and the journal of how they came
//! about. `Ledger` is what must be compare-and-swap. Both take work in batches and answer a
//! write only when it is synced, so callers publish at once and answer after the commit.
//! [`Embedded`] keeps both in one file; an engine of another kind fills the same seams.
//!
//! Invariant: a write that was answered with success is there after any crash, whole; one that
//! was not is there whole or not at all; revisions never go back.

mod condition;
mod embedded;
mod error;
mod facts;
mod ledger;

use std::{future::Future, pin::Pin};

pub use condition::Condition;
pub use embedded::{
    Embedded, FORMAT_KNOWN, FormatVersion, Restored, Retention, Settings, Start, WAITING_BYTES_MAX,
    WAITING_JOBS_MAX, restore,
};
pub use error::StoreError;
pub use facts::{
    BATCH_BYTES_MAX, BadFactKey, Batch, FactKey, Facts, JOURNAL_TAIL_MAX, JournalLine, Loaded,
};
pub use ledger::{
    LEDGER_KEY_BYTES_MAX, LEDGER_VALUE_BYTES_MAX, Ledger, LedgerKey, Operation, Outcome, Page,
    RANGE_MAX, Record, Requirement, Span, TRANSACTIONS_MAX, Transaction,
};

/// An answer that comes when the work is done.
///
/// A write is in the queue as soon as its method returns, so that the order of calls is the
/// order of commits; dropping the answer does not take it back. A read begins when it is polled.
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;
