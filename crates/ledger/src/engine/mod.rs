//! The rules of keys, sessions and transactions, without I/O and clock.
//!
//! Modules: `words` (what goes in and out), `keys` (one key at a time), `sessions`, `objects`,
//! `txn`, `forgotten` (indexes of what is no longer there), and `records` (what is stored).

mod forgotten;
mod keys;
mod objects;
mod records;
mod sessions;
#[cfg(test)]
mod tests;
mod txn;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::Duration,
};

use bytes::Bytes;
use portolan_model::{Revision, RevisionClock};
use portolan_store::{LedgerKey, Operation};

pub use forgotten::FORGOTTEN_KEYS_MAX;
pub use words::{
    Alteration, Answer, Counts, Expectation, Input, KEY_BYTES_MAX, Kept, LEDGER_BYTES_MAX, Mode,
    Moment, OPERATIONS_MAX, Output, Query, Refusal, SESSIONS_MAX, Step, TXN_BYTES_MAX, TxnAnswer,
    TxnFault, VALUE_BYTES_MAX, Verb,
};

use forgotten::Forgotten;
use keys::Write;
use objects::{Objects, Place};

use crate::{
    entry::{Entry, Key},
    object::Object,
    session::{Session, SessionId},
};

/// Keys of the store: entries, sessions, and the highest revision.
const ENTRIES: &str = "kv/";
const SESSIONS: &str = "session/";
const INDEX: &str = "index";

/// All keys and sessions.
#[derive(Debug)]
pub struct Engine {
    entries: BTreeMap<Key, Entry>,
    sessions: BTreeMap<SessionId, Live>,
    /// Keys that each session holds.
    held: BTreeMap<SessionId, BTreeSet<Key>>,
    /// Keys that can't be locked before a time.
    delayed: BTreeMap<Key, Duration>,
    /// When sessions end, soonest first.
    deadlines: BTreeSet<(Duration, SessionId)>,
    objects: Objects,
    forgotten: Forgotten,
    /// Bytes of keys and values.
    bytes: usize,
    /// The last revision that changed a session.
    sessions_modified: Revision,
    revision: Revision,
    /// What the present step has touched, as it was before, in order.
    touched: Vec<(Key, Option<Entry>)>,
    /// The same of objects.
    touched_objects: Vec<(Place, Option<Object>)>,
    /// What the present step has to write besides.
    writes: Vec<Operation>,
}

#[derive(Debug)]
struct Live {
    session: Session,
    deadline: Option<Duration>,
}

impl Engine {
    /// Takes an input, and says what it came to and what must be written before anybody is told.
    pub fn step(&mut self, now: Moment, input: Input) -> Step {
        let before = self.revision;
        let next = RevisionClock::new(self.revision).next(now.at);
        let answer = match input {
            Input::Set {
                key,
                value,
                flags,
                mode,
            } => self.set(
                now,
                next,
                Write {
                    key,
                    value,
                    flags,
                    mode,
                },
            ),
            Input::Delete { key, index } => Answer::Done(self.delete(&key, index)),
            Input::DeleteTree { prefix } => {
                self.delete_tree(&prefix);
                Answer::Done(true)
            }
            Input::Txn(verbs) => self.transact(now, next, verbs),
            Input::Begin { id, terms } => self.begin(now, next, id, terms),
            Input::Renew(id) => Answer::Session(self.renew(now, &id)),
            Input::End(id) => Answer::Done(self.end(now, next, &id)),
            Input::Alter(alterations) => self.alter(next, alterations),
            Input::Tick => Answer::Done(self.expire(now, next)),
        };
        self.finish(answer, next, before)
    }

    fn finish(&mut self, answer: Answer, next: Revision, before: Revision) -> Step {
        let mut writes = std::mem::take(&mut self.writes);
        let touched = std::mem::take(&mut self.touched);
        let changed: BTreeSet<Key> = touched.into_iter().map(|(key, _)| key).collect();
        let trees: Vec<LedgerKey> = writes.iter().filter_map(deleted_tree).collect();
        for key in &changed {
            let stored = stored_key(ENTRIES, key);
            if let Some(entry) = self.entries.get(key) {
                self.forgotten.revive(key);
                writes.push(Operation::Put(stored, entry.encode()));
                continue;
            }
            self.forgotten.delete(key, next);
            let is_in = |tree: &LedgerKey| stored.as_bytes().starts_with(tree.as_bytes());
            if !trees.iter().any(is_in) {
                writes.push(Operation::Delete(stored));
            }
        }
        let kinds_changed = self.written_objects(next, &mut writes);
        if !writes.is_empty() {
            self.revision = next;
            let index = Bytes::copy_from_slice(&next.as_u64().to_be_bytes());
            writes.push(Operation::Put(stored_key("", INDEX), index));
        }
        Step {
            answer,
            changed: changed.into_iter().collect(),
            sessions_changed: self.sessions_modified > before,
            kinds_changed,
            writes,
        }
    }

    /// When the next session ends, on the clock of [`Moment::uptime`].
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Answers a question, with the index to wait for a change at.
    #[must_use]
    pub fn look(&self, query: &Query) -> (Output, Revision) {
        match query {
            Query::Key(key) => {
                let entry = self.entries.get(&**key).cloned();
                (Output::Entry(entry), self.index_of_key(key))
            }
            Query::Tree(prefix) => {
                let tree = self.tree(prefix);
                let entries = tree.map(|(key, entry)| (Key::clone(key), entry.clone()));
                (
                    Output::Entries(entries.collect()),
                    self.index_of_tree(prefix),
                )
            }
            Query::Names { prefix, separator } => {
                let names = self.names(prefix, separator);
                (Output::Names(names), self.index_of_tree(prefix))
            }
            Query::Session(id) => {
                let found = self.sessions.get(id).map(|live| live.session.clone());
                let sessions = found.into_iter().collect();
                (Output::Sessions(sessions), self.sessions_modified)
            }
            Query::Sessions => {
                let sessions = self.sessions.values().map(|live| live.session.clone());
                (Output::Sessions(sessions.collect()), self.sessions_modified)
            }
            Query::Objects(kind) => {
                let all = self.objects.of(*kind);
                let objects = all.map(|(id, object)| (Key::clone(id), object.clone()));
                let index = self.objects.index(*kind, self.forgotten.floor());
                (Output::Objects(objects.collect()), index)
            }
        }
    }

    /// How much there is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            keys: self.entries.len(),
            sessions: self.sessions.len(),
            objects: self.objects.len(),
            bytes: self.bytes + self.objects.bytes(),
        }
    }

    /// Whether there is room for `size` bytes in place of `before`.
    fn check_room(&self, size: usize, before: usize) -> Result<(), Refusal> {
        let all = self.bytes + self.objects.bytes();
        if size > before && all - before + size > LEDGER_BYTES_MAX {
            return Err(Refusal::Full);
        }
        Ok(())
    }

    fn tree<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a Key, &'a Entry)> {
        self.entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Keys below a prefix, each cut after the first separator that follows the prefix.
    fn names(&self, prefix: &str, separator: &str) -> Vec<Key> {
        let mut names: Vec<Key> = Vec::new();
        for (key, _) in self.tree(prefix) {
            let rest = &key[prefix.len()..];
            let cut = match rest.find(separator) {
                Some(at) if !separator.is_empty() => &key[..prefix.len() + at + separator.len()],
                _ => key,
            };
            if names.last().is_none_or(|last| **last != *cut) {
                names.push(cut.into());
            }
        }
        names
    }

    fn index_of_key(&self, key: &str) -> Revision {
        match self.entries.get(key) {
            Some(entry) => entry.modified,
            None => self.forgotten.index_of_key(key),
        }
    }

    fn index_of_tree(&self, prefix: &str) -> Revision {
        let entries = self.tree(prefix).map(|(_, entry)| entry.modified);
        entries.fold(self.forgotten.index_of_tree(prefix), Ord::max)
    }
}

fn deleted_tree(operation: &Operation) -> Option<LedgerKey> {
    match operation {
        Operation::DeletePrefix(prefix) => Some(prefix.clone()),
        Operation::Put(..) | Operation::Delete(_) => None,
    }
}

/// A key of the store. Keys of entries and ids of sessions are bounded, so that it fits.
fn stored_key(kind: &str, name: &str) -> LedgerKey {
    LedgerKey::new(format!("{kind}{name}")).unwrap_or_default()
}
