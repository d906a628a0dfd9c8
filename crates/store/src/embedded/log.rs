//! Facts as a log: what is written goes to the end, whatever its key.
//!
//! Facts that are written together lie together, so a commit of many writes few pages; a tree by
//! key would write one for each. Only the newest row of a key counts. The oldest rows are taken
//! off while too many are of the past, and those that still count go to the end again.
//! Source: M. Rosenblum, J. Ousterhout, "The Design and Implementation of a Log-Structured File
//! System", SOSP 1991.
//!
//! Invariant: rows are taken off oldest first, so when a removal is the oldest row, nothing that
//! it removed is left.

use std::hash::{BuildHasher, RandomState};

use hashbrown::{
    HashTable,
    hash_table::{Entry, OccupiedEntry},
};
use redb::{Error, ReadTransaction, ReadableTable, ReadableTableMetadata, Table};

use super::tables::{FACTS, FactRow};

/// Rows of the past that are not worth taking off.
const PAST_ROWS_MIN: u64 = 64;
/// Rows that are taken off at most for each that is written. Two keep the log at twice what
/// counts; more let it shrink after facts were removed.
const TAKEN_PER_ROW_MAX: usize = 4;

/// A key and a value.
type OwnedRow = (Vec<u8>, Vec<u8>);

/// Where the newest row of each fact is.
#[derive(Debug, Default)]
pub(super) struct FactLog {
    newest: Newest,
    next: u64,
    written: usize,
}

impl FactLog {
    pub(super) fn read(transaction: &ReadTransaction) -> Result<Self, Error> {
        let mut log = Self::default();
        for row in transaction.open_table(FACTS)?.iter()? {
            let (number, row) = row?;
            match row.value() {
                (key, Some(_)) => log.newest.insert(key, number.value()),
                (key, None) => {
                    log.newest.remove(key);
                }
            }
            log.next = number.value() + 1;
        }
        Ok(log)
    }

    /// How many facts there are.
    pub(super) fn len(&self) -> usize {
        self.newest.len()
    }

    /// Whether the row with this number counts.
    pub(super) fn is_newest(&self, number: u64, key: &[u8]) -> bool {
        self.newest.get(key) == Some(number)
    }

    pub(super) fn put(
        &mut self,
        table: &mut Table<'_, u64, FactRow>,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Error> {
        table.insert(self.next, (key, Some(value)))?;
        self.newest.insert(key, self.next);
        self.advance();
        Ok(())
    }

    pub(super) fn remove(
        &mut self,
        table: &mut Table<'_, u64, FactRow>,
        key: &[u8],
    ) -> Result<(), Error> {
        if self.newest.remove(key) {
            table.insert(self.next, (key, None))?;
            self.advance();
        }
        Ok(())
    }

    /// Takes off rows of the past, in proportion to what was written since the last time.
    pub(super) fn clean(&mut self, table: &mut Table<'_, u64, FactRow>) -> Result<(), Error> {
        let budget = std::mem::take(&mut self.written).saturating_mul(TAKEN_PER_ROW_MAX);
        for _ in 0..budget {
            if table.len()? <= 2 * self.newest.len() as u64 + PAST_ROWS_MIN {
                break;
            }
            let Some((key, value)) = self.take_first(table)? else {
                continue;
            };
            table.insert(self.next, (&*key, Some(&*value)))?;
            self.newest.insert(&key, self.next);
            self.next += 1;
        }
        Ok(())
    }

    /// Takes off the oldest row, and answers it if it counts.
    fn take_first(&self, table: &mut Table<'_, u64, FactRow>) -> Result<Option<OwnedRow>, Error> {
        let Some((number, row)) = table.pop_first()? else {
            return Ok(None);
        };
        let (key, value) = row.value();
        if !self.is_newest(number.value(), key) {
            return Ok(None);
        }
        Ok(Some((key.to_vec(), value.unwrap_or_default().to_vec())))
    }

    fn advance(&mut self) {
        self.next += 1;
        self.written += 1;
    }
}

/// Numbers of rows by keys, of which only prints are kept: rows have the keys, and there are
/// as many as there are instances.
///
/// Invariant: a key has one entry at most, in the place of the first half of its print.
#[derive(Debug, Default)]
struct Newest {
    entries: HashTable<(Print, u64)>,
    hashes: [RandomState; 2],
}

/// 128 bits that stand for a key. Keys that are as many as rows can be have no two prints that
/// are equal, and nobody can look for some that have: the hashes are the process's own.
type Print = [u64; 2];

impl Newest {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn get(&self, key: &[u8]) -> Option<u64> {
        let print = self.print(key);
        let entry = self.entries.find(print[0], |entry| entry.0 == print)?;
        Some(entry.1)
    }

    fn insert(&mut self, key: &[u8], number: u64) {
        let print = self.print(key);
        let is_it = |entry: &(Print, u64)| entry.0 == print;
        match self.entries.entry(print[0], is_it, |entry| entry.0[0]) {
            Entry::Occupied(mut entry) => entry.get_mut().1 = number,
            Entry::Vacant(entry) => {
                entry.insert((print, number));
            }
        }
    }

    /// Forgets a key; says whether it was there.
    fn remove(&mut self, key: &[u8]) -> bool {
        let print = self.print(key);
        let entry = self.entries.find_entry(print[0], |entry| entry.0 == print);
        entry.map(OccupiedEntry::remove).is_ok()
    }

    fn print(&self, key: &[u8]) -> Print {
        self.hashes.each_ref().map(|hash| hash.hash_one(key))
    }
}

#[cfg(test)]
mod tests {
    use redb::{Database, ReadableDatabase, backends::InMemoryBackend};

    use super::*;

    /// Writes so many times over so many facts; answers how many rows there are.
    fn rows_after(database: &Database, writes: u64, facts: u64) -> u64 {
        let mut log = FactLog::read(&database.begin_read().unwrap()).unwrap();
        for group in 0..writes / 10 {
            let transaction = database.begin_write().unwrap();
            let mut table = transaction.open_table(FACTS).unwrap();
            for write in group * 10..group * 10 + 10 {
                let key = (write * 7 % facts).to_be_bytes();
                log.put(&mut table, &key, b"v").unwrap();
            }
            log.clean(&mut table).unwrap();
            drop(table);
            transaction.commit().unwrap();
        }
        let table = database.begin_read().unwrap().open_table(FACTS).unwrap();
        table.len().unwrap()
    }

    fn empty() -> Database {
        let builder = Database::builder();
        let database = builder.create_with_backend(InMemoryBackend::new()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(FACTS).unwrap();
        transaction.commit().unwrap();
        database
    }

    #[test]
    fn the_log_stays_within_twice_what_counts() {
        let database = empty();
        assert_eq!(rows_after(&database, 100, 100), 100);
        assert_eq!(rows_after(&database, 160, 100), 260);
        assert_eq!(rows_after(&database, 10, 100), 264);
        assert_eq!(rows_after(&database, 1000, 100), 264);
        let log = FactLog::read(&database.begin_read().unwrap()).unwrap();
        assert_eq!(log.len(), 100);
    }

    #[test]
    fn removals_leave_in_the_end() {
        let database = empty();
        rows_after(&database, 1000, 1000);
        let mut log = FactLog::read(&database.begin_read().unwrap()).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut table = transaction.open_table(FACTS).unwrap();
        for number in 0_u64..1000 {
            log.remove(&mut table, &number.to_be_bytes()).unwrap();
            log.remove(&mut table, &number.to_be_bytes()).unwrap();
        }
        log.clean(&mut table).unwrap();
        assert_eq!(table.len().unwrap(), PAST_ROWS_MIN);
        assert_eq!(log.len(), 0);
    }
}
