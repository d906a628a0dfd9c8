//! The seam of what must be compare-and-swap: KV, sessions, locks, overrides, stored objects.
//!
//! Keys are ordered bytes; whoever owns a prefix knows what is below it. A transaction has its
//! requirements checked and its operations applied as one step, in one order with all others.

use std::fmt;

use bytes::Bytes;
use portolan_model::Revision;

use crate::{Later, StoreError, error::check_size};

/// Longest key, in bytes.
pub const LEDGER_KEY_BYTES_MAX: usize = 4_096;
/// Longest value, in bytes: the largest stored object, and what frames it.
pub const LEDGER_VALUE_BYTES_MAX: usize = 1 << 20;
/// Most transactions in one call, and most requirements and operations in one transaction.
pub const TRANSACTIONS_MAX: usize = 1_024;
/// Most records in one page.
pub const RANGE_MAX: usize = 10_000;

/// Records that are only changed on conditions.
///
/// Implementors take a call without waiting, apply transactions in the order of the calls, each
/// whole or not at all, and answer when all of them would survive a loss of power. Reads see what
/// was answered. Neither may block; a failed call leaves unknown whether it was applied, so a
/// caller reads again before it tries again.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Runs transactions; there is one outcome for each.
    fn transact(&self, transactions: Vec<Transaction>) -> Later<Vec<Outcome>>;

    /// One record.
    fn read(&self, key: LedgerKey) -> Later<Option<Record>>;

    /// Records in the order of their keys.
    fn range(&self, span: Span) -> Later<Page>;
}

/// The key of a record, or the beginning of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LedgerKey(Bytes);

impl LedgerKey {
    /// Takes the bytes of a key.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] over [`LEDGER_KEY_BYTES_MAX`].
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, StoreError> {
        let bytes = bytes.into();
        check_size("a key", bytes.len(), LEDGER_KEY_BYTES_MAX)?;
        Ok(Self(bytes))
    }

    /// A key that was within the limit when it was stored.
    pub(crate) fn stored(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The first key after all that begin with this one; none if there is no such key.
    pub(crate) fn after_prefix(&self) -> Option<Vec<u8>> {
        let mut bytes = self.0.to_vec();
        while let Some(last) = bytes.pop() {
            if let Some(next) = last.checked_add(1) {
                bytes.push(next);
                return Some(bytes);
            }
        }
        None
    }
}

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The value.
    pub value: Bytes,
    /// The revision that made it.
    pub created: Revision,
    /// The revision that wrote it last.
    pub modified: Revision,
}

/// What must hold for a transaction to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// There is no such record.
    Absent(LedgerKey),
    /// There is one.
    Exists(LedgerKey),
    /// There is one, and this revision wrote it last.
    At(LedgerKey, Revision),
}

impl Requirement {
    pub(crate) const fn key(&self) -> &LedgerKey {
        match self {
            Self::Absent(key) | Self::Exists(key) | Self::At(key, _) => key,
        }
    }
}

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes a record.
    Put(LedgerKey, Bytes),
    /// Removes a record; one that is not there is no error.
    Delete(LedgerKey),
    /// Removes all records whose keys begin so.
    DeletePrefix(LedgerKey),
}

/// Requirements and operations that are one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// All of them must hold.
    pub requirements: Vec<Requirement>,
    /// Applied in this order.
    pub operations: Vec<Operation>,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied; what it wrote has this revision.
    Committed(Revision),
    /// A requirement did not hold, and nothing was applied.
    Refused {
        /// Which one, counted from 0.
        requirement: usize,
        /// The revision that its record has instead, if there is one.
        found: Option<Revision>,
    },
}

/// Which records are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Keys begin with this.
    pub prefix: LedgerKey,
    /// Keys are greater than this: the last one of the page before.
    pub after: Option<LedgerKey>,
    /// At most so many; [`RANGE_MAX`] in any case.
    pub limit: usize,
}

/// Some records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The records, in the order of their keys.
    pub records: Vec<(LedgerKey, Record)>,
    /// Whether there are more after these.
    pub has_more: bool,
}

impl Transaction {
    pub(crate) fn bytes(&self) -> usize {
        let operation = |operation: &Operation| match operation {
            Operation::Put(key, value) => key.0.len() + value.len(),
            Operation::Delete(key) | Operation::DeletePrefix(key) => key.0.len(),
        };
        let required = self.requirements.iter().map(|one| one.key().0.len());
        self.operations.iter().map(operation).sum::<usize>() + required.sum::<usize>()
    }
}

pub(crate) fn check(transactions: &[Transaction]) -> Result<(), StoreError> {
    check_size("transactions", transactions.len(), TRANSACTIONS_MAX)?;
    for transaction in transactions {
        let parts = transaction
            .requirements
            .len()
            .max(transaction.operations.len());
        check_size("a transaction", parts, TRANSACTIONS_MAX)?;
        for operation in &transaction.operations {
            if let Operation::Put(_, value) = operation {
                check_size("a value", value.len(), LEDGER_VALUE_BYTES_MAX)?;
            }
        }
    }
    let bytes = transactions.iter().map(Transaction::bytes).sum();
    check_size("a call", bytes, crate::BATCH_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(size: usize) -> Transaction {
        Transaction {
            operations: vec![Operation::Put(LedgerKey::default(), vec![0; size].into())],
            ..Transaction::default()
        }
    }

    #[test]
    fn limits_hold_at_the_limit_and_one_past_it() {
        assert!(LedgerKey::new(vec![0; LEDGER_KEY_BYTES_MAX]).is_ok());
        assert!(LedgerKey::new(vec![0; LEDGER_KEY_BYTES_MAX + 1]).is_err());
        assert!(check(&[put(LEDGER_VALUE_BYTES_MAX)]).is_ok());
        assert!(check(&[put(LEDGER_VALUE_BYTES_MAX + 1)]).is_err());
        assert!(check(&vec![put(0); TRANSACTIONS_MAX]).is_ok());
        assert!(check(&vec![put(0); TRANSACTIONS_MAX + 1]).is_err());
        let operations = |count| Transaction {
            operations: vec![Operation::Delete(LedgerKey::default()); count],
            ..Transaction::default()
        };
        assert!(check(&[operations(TRANSACTIONS_MAX)]).is_ok());
        assert!(check(&[operations(TRANSACTIONS_MAX + 1)]).is_err());
        assert!(check(&vec![put(LEDGER_VALUE_BYTES_MAX); 16]).is_ok());
        assert!(check(&vec![put(LEDGER_VALUE_BYTES_MAX); 17]).is_err());
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_that_does_not_begin_so() {
        let end = |bytes: &'static [u8]| LedgerKey::new(bytes).unwrap().after_prefix();
        assert_eq!(end(b"kv/a"), Some(b"kv/b".to_vec()));
        assert_eq!(end(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(end(b"\xff"), None);
        assert_eq!(end(b""), None);
    }
}
