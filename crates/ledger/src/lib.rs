//! Keys and values with compare-and-swap, sessions and locks, and the objects of fronts.
//!
//! [`Engine`] is pure: `step(now, input)` answers and says what has to be written. [`Ledger`] is
//! its shell: one task that steps, writes through the store's seam and answers after the commit,
//! so whatever anybody was told, a read included, survives a restart. The store may come and go
//! while the program hands over; a [`Snapshot`] is all of it elsewhere.
//!
//! Invariant: an index only rises, over restarts too, and everything that changes a key, or what
//! is below a prefix, raises theirs.
//! Source: the semantics of Consul's KV store, sessions and transactions.

mod engine;
mod entry;
mod keeper;
mod object;
mod place;
mod session;
mod shell;
mod snapshot;
#[cfg(test)]
mod tests;
mod waiting;

pub use engine::{
    Alteration, Answer, Counts, Engine, Expectation, FORGOTTEN_KEYS_MAX, Input, KEY_BYTES_MAX,
    Kept, LEDGER_BYTES_MAX, Mode, Moment, OPERATIONS_MAX, Output, Query, Refusal, SESSIONS_MAX,
    Step, TXN_BYTES_MAX, TxnAnswer, TxnFault, VALUE_BYTES_MAX, Verb,
};
pub use entry::{BadRecord, Entry};
pub use object::{Kind, OBJECT_BYTES_MAX, Object};
pub use session::{Behavior, LOCK_DELAY_MAX, Session, SessionId, TTL_MAX, Terms};
pub use shell::{COMMANDS_MAX, Ledger, LedgerError};
pub use snapshot::{BadSnapshot, Chunks, SNAPSHOT_BYTES_MAX, Snapshot};
pub use waiting::WAITERS_MAX;
