//! Several operations as one.

use bytes::Bytes;
use portolan_model::Revision;

use super::{
    Answer, Engine, Moment, OPERATIONS_MAX, Refusal, TXN_BYTES_MAX, TxnAnswer, TxnFault, Verb,
    keys::{Write, check_key, size_of},
};
use crate::entry::{Entry, Key};

/// What a transaction has found so far, of no more than [`TXN_BYTES_MAX`]: reads of one large
/// tree, however often a client repeats them, must not fill the memory.
#[derive(Default)]
struct Results {
    entries: Vec<(Key, Entry)>,
    bytes: usize,
}

impl Results {
    fn add(&mut self, key: Key, entry: Entry) -> Result<(), Refusal> {
        self.bytes = self.bytes.saturating_add(size_of(&key, &entry));
        if self.bytes > TXN_BYTES_MAX {
            return Err(Refusal::TxnTooLarge(self.bytes));
        }
        self.entries.push((key, entry));
        Ok(())
    }
}

impl Engine {
    pub(super) fn transact(&mut self, now: Moment, next: Revision, verbs: Vec<Verb>) -> Answer {
        if verbs.len() > OPERATIONS_MAX {
            return Answer::Refused(Refusal::TooManyOperations(verbs.len()));
        }
        let bytes = verbs.iter().map(bytes_of).sum();
        if bytes > TXN_BYTES_MAX {
            return Answer::Refused(Refusal::TxnTooLarge(bytes));
        }
        let (mut results, mut faults) = (Results::default(), Vec::new());
        for (operation, verb) in verbs.into_iter().enumerate() {
            // After a fault the others are tried as well, so that a client hears of all.
            match self.apply(now, next, verb, &mut results) {
                Ok(()) => {}
                // It is the whole that is too large, not this operation.
                Err(refusal @ Refusal::TxnTooLarge(_)) => {
                    self.roll_back();
                    return Answer::Refused(refusal);
                }
                Err(refusal) => faults.push(TxnFault { operation, refusal }),
            }
        }
        if faults.is_empty() {
            return Answer::Txn(TxnAnswer::Applied(results.entries));
        }
        self.roll_back();
        Answer::Txn(TxnAnswer::Faulted(faults))
    }

    fn apply(
        &mut self,
        now: Moment,
        next: Revision,
        verb: Verb,
        results: &mut Results,
    ) -> Result<(), Refusal> {
        match verb {
            Verb::Set {
                key,
                value,
                flags,
                mode,
            } => {
                let write = Write {
                    key: Key::clone(&key),
                    value,
                    flags,
                    mode,
                };
                self.try_set(now, next, write)?;
                self.tell(key, results)
            }
            Verb::Get(key) => {
                let entry = self.entry(&key)?.clone();
                results.add(key, entry)
            }
            Verb::GetOrEmpty(key) => {
                let entry = self.entries.get(&key).cloned();
                results.add(key, entry.unwrap_or_else(nothing))
            }
            Verb::GetTree(prefix) => {
                let mut tree = self.tree(&prefix);
                tree.try_for_each(|(key, entry)| results.add(Key::clone(key), entry.clone()))
            }
            Verb::CheckIndex(key, index) => {
                if self.entry(&key)?.modified != index {
                    return Err(Refusal::StaleIndex(key));
                }
                self.tell(key, results)
            }
            Verb::CheckSession(key, id) => {
                if self.entry(&key)?.session.as_ref() != Some(&id) {
                    return Err(Refusal::LockNotHeld(key));
                }
                self.tell(key, results)
            }
            Verb::CheckAbsent(key) if self.entries.contains_key(&key) => {
                Err(Refusal::KeyExists(key))
            }
            Verb::CheckAbsent(_) => Ok(()),
            Verb::Delete(key, index) => {
                check_key(&key)?;
                let is_right = self.delete(&key, index);
                is_right.then_some(()).ok_or(Refusal::StaleDelete(key))
            }
            Verb::DeleteTree(prefix) => {
                self.delete_tree(&prefix);
                Ok(())
            }
        }
    }

    fn entry(&self, key: &Key) -> Result<&Entry, Refusal> {
        let found = self.entries.get(key);
        found.ok_or_else(|| Refusal::NoSuchKey(Key::clone(key)))
    }

    /// Tells of an entry whose value the client knows.
    fn tell(&self, key: Key, results: &mut Results) -> Result<(), Refusal> {
        let entry = Entry {
            value: Bytes::new(),
            ..self.entry(&key)?.clone()
        };
        results.add(key, entry)
    }

    /// Takes back what the step has done so far.
    pub(super) fn roll_back(&mut self) {
        self.writes.clear();
        while let Some((place, before)) = self.touched_objects.pop() {
            self.objects.replace(&place, before);
        }
        while let Some((key, before)) = self.touched.pop() {
            self.replace(&key, before);
        }
    }
}

/// The entry of a key that is not there.
const fn nothing() -> Entry {
    Entry {
        value: Bytes::new(),
        flags: 0,
        locks: 0,
        session: None,
        created: Revision::from_u64(0),
        modified: Revision::from_u64(0),
    }
}

fn bytes_of(verb: &Verb) -> usize {
    match verb {
        Verb::Set { value, .. } => value.len(),
        Verb::Get(_)
        | Verb::GetOrEmpty(_)
        | Verb::GetTree(_)
        | Verb::CheckIndex(..)
        | Verb::CheckSession(..)
        | Verb::CheckAbsent(_)
        | Verb::Delete(..)
        | Verb::DeleteTree(_) => 0,
    }
}
