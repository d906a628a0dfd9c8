//! A group of jobs in one transaction of the file.

use portolan_model::{Revision, RevisionClock, Timestamp};
use redb::{Error, ReadableTable, ReadableTableMetadata};

use super::{
    Retention,
    log::FactLog,
    queue::{Done, Job, Work},
    tables::{REVISION, Tables},
};
use crate::{Batch, LedgerKey, Operation, Outcome, Requirement, Transaction};

/// Lines that are forgotten at most for each that is written, so that a stricter retention does
/// not make one commit long.
const FORGOTTEN_PER_LINE_MAX: usize = 16;

/// Applies jobs in their order. Nothing of it is there before the transaction is committed.
pub(super) struct Group<'a, 't> {
    pub(super) tables: &'a mut Tables<'t>,
    /// What it says is only right if the transaction is committed.
    pub(super) log: &'a mut FactLog,
    /// The bytes of the journal's lines; only right if the transaction is committed.
    pub(super) journal_bytes: &'a mut u64,
    /// The highest revision that was handed out so far.
    pub(super) revision: Revision,
    /// The one that is stored.
    pub(super) stored: Revision,
    pub(super) journal: Retention,
}

impl Group<'_, '_> {
    pub(super) fn apply(&mut self, jobs: &[Job]) -> Result<Vec<Done>, Error> {
        let mut done = Vec::with_capacity(jobs.len());
        let (mut lines, mut newest) = (0, Timestamp::default());
        for job in jobs {
            match &job.work {
                Work::Facts(batch) => {
                    self.facts(batch)?;
                    lines += batch.lines.len();
                    newest = batch
                        .lines
                        .iter()
                        .map(|line| line.at)
                        .fold(newest, Ord::max);
                    done.push(Done::Facts);
                }
                Work::Ledger(transactions) => {
                    let outcomes: Result<_, Error> = transactions
                        .iter()
                        .map(|transaction| self.transact(transaction, job.at.now))
                        .collect();
                    done.push(Done::Ledger(outcomes?));
                }
            }
        }
        self.log.clean(&mut self.tables.facts)?;
        if lines > 0 {
            self.forget(newest, lines.saturating_mul(FORGOTTEN_PER_LINE_MAX))?;
        }
        if self.revision > self.stored {
            self.tables.meta.insert(REVISION, self.revision.as_u64())?;
        }
        Ok(done)
    }

    fn facts(&mut self, batch: &Batch) -> Result<(), Error> {
        for (key, value) in &batch.changes {
            let (key, facts) = (key.encode(), &mut self.tables.facts);
            match value {
                Some(value) => self.log.put(facts, &key, value)?,
                None => self.log.remove(facts, &key)?,
            }
        }
        for line in &batch.lines {
            let entry = (line.at.as_millis(), &*line.text);
            let journal = &mut self.tables.journal;
            let replaced = journal.insert(line.revision.as_u64(), entry)?;
            let replaced = replaced.map_or(0, |entry| entry.value().1.len() as u64);
            *self.journal_bytes =
                (*self.journal_bytes + line.text.len() as u64).saturating_sub(replaced);
        }
        self.revision = self.revision.max(batch.revision.unwrap_or(Revision::FIRST));
        Ok(())
    }

    /// Forgets the oldest lines of the journal that are too many or too old.
    fn forget(&mut self, newest: Timestamp, limit: usize) -> Result<(), Error> {
        let Retention { lines, bytes, age } = self.journal;
        for _ in 0..limit {
            let (at, size) = match self.tables.journal.first()? {
                Some((_, entry)) => {
                    let (at, text) = entry.value();
                    (Timestamp::from_millis(at), text.len() as u64)
                }
                None => break,
            };
            let is_too_much = *self.journal_bytes > bytes.as_bytes();
            let is_old = newest.since(at) > age;
            if !is_old && !is_too_much && self.tables.journal.len()? <= lines {
                break;
            }
            self.tables.journal.pop_first()?;
            *self.journal_bytes = self.journal_bytes.saturating_sub(size);
        }
        Ok(())
    }

    fn transact(&mut self, transaction: &Transaction, now: Timestamp) -> Result<Outcome, Error> {
        for (index, requirement) in transaction.requirements.iter().enumerate() {
            let found = self.modified(requirement.key())?;
            let holds = match requirement {
                Requirement::Absent(_) => found.is_none(),
                Requirement::Exists(_) => found.is_some(),
                Requirement::At(_, revision) => found == Some(*revision),
            };
            if !holds {
                return Ok(Outcome::Refused {
                    requirement: index,
                    found,
                });
            }
        }
        if !transaction.operations.is_empty() {
            self.revision = RevisionClock::new(self.revision).next(now);
        }
        for operation in &transaction.operations {
            self.operate(operation)?;
        }
        Ok(Outcome::Committed(self.revision))
    }

    fn modified(&self, key: &LedgerKey) -> Result<Option<Revision>, Error> {
        let found = self.tables.ledger.get(key.as_bytes())?;
        Ok(found.map(|entry| Revision::from_u64(entry.value().1)))
    }

    fn operate(&mut self, operation: &Operation) -> Result<(), Error> {
        let (ledger, revision) = (&mut self.tables.ledger, self.revision.as_u64());
        match operation {
            Operation::Put(key, value) => {
                let key = key.as_bytes();
                let created = ledger.get(key)?.map(|entry| entry.value().0);
                ledger.insert(key, (created.unwrap_or(revision), revision, &**value))?;
            }
            Operation::Delete(key) => {
                ledger.remove(key.as_bytes())?;
            }
            Operation::DeletePrefix(prefix) => {
                let from = prefix.as_bytes();
                match prefix.after_prefix() {
                    Some(end) => ledger.retain_in(from..&*end, |_, _| false)?,
                    None => ledger.retain_in(from.., |_, _| false)?,
                }
            }
        }
        Ok(())
    }
}
