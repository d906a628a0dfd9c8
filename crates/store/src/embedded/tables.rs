//! The tables of format 1.

use redb::{Error, Table, TableDefinition, WriteTransaction};

/// `format` and `revision`.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// A fact's stored key, and its value; none is a removal.
pub(super) type FactRow = (&'static [u8], Option<&'static [u8]>);
/// The log of facts: rows in the order in which they were written.
pub(super) const FACTS: TableDefinition<'_, u64, FactRow> = TableDefinition::new("facts");
/// Revision to milliseconds and text.
pub(super) const JOURNAL: TableDefinition<'_, u64, (u64, &[u8])> = TableDefinition::new("journal");
/// Key to the revisions that created and modified it, and the value.
pub(super) const LEDGER: TableDefinition<'_, &[u8], (u64, u64, &[u8])> =
    TableDefinition::new("ledger");

/// The row of [`META`] with the version of the format.
pub(super) const FORMAT: &str = "format";
/// The row of [`META`] with the highest revision ever committed.
pub(super) const REVISION: &str = "revision";

/// All tables, open for writing.
pub(super) struct Tables<'t> {
    pub(super) meta: Table<'t, &'static str, u64>,
    pub(super) facts: Table<'t, u64, FactRow>,
    pub(super) journal: Table<'t, u64, (u64, &'static [u8])>,
    pub(super) ledger: Table<'t, &'static [u8], (u64, u64, &'static [u8])>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            facts: transaction.open_table(FACTS)?,
            journal: transaction.open_table(JOURNAL)?,
            ledger: transaction.open_table(LEDGER)?,
        })
    }
}
