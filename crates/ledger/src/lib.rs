//! Keys and values with compare-and-swap, sessions and locks.
//!
//! [`Engine`] is pure: `step(now, input)` answers and says what has to be written. [`Ledger`] is
//! its shell: one task that steps, writes through the store's seam and answers after the commit,
//! so whatever anybody was told, a read included, survives a restart.
//!
//! Invariant: an index only rises, over restarts too, and everything that changes a key, or what
//! is below a prefix, raises theirs.
//! Source: the semantics of Consul's KV store, sessions and transactions.

mod engine;
mod entry;
mod session;
mod shell;
#[cfg(test)]
mod tests;
mod waiting;

pub use engine::{
    Answer, Engine, FORGOTTEN_KEYS_MAX, Input, KEY_BYTES_MAX, Mode, Moment, OPERATIONS_MAX, Output,
    Query, Refusal, SESSIONS_MAX, Step, TXN_BYTES_MAX, TxnAnswer, TxnFault, VALUE_BYTES_MAX, Verb,
};
pub use entry::{BadRecord, Entry};
pub use session::{Behavior, Session, SessionId, Terms};
pub use shell::{COMMANDS_MAX, Ledger, LedgerError};
pub use waiting::WAITERS_MAX;
