//! The rules of keys, sessions and transactions, without I/O and clock.
//!
//! Modules: `words` (what goes in and out), `keys` (one key at a time), `sessions`, `txn`, and
//! `forgotten` (indexes of what is no longer there).

mod forgotten;
mod keys;
mod sessions;
#[cfg(test)]
mod tests;
mod txn;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use portolan_model::{Revision, RevisionClock};
use portolan_store::{LedgerKey, Operation};

pub use forgotten::FORGOTTEN_KEYS_MAX;
pub use words::{
    Answer, Input, KEY_BYTES_MAX, Mode, Moment, OPERATIONS_MAX, Output, Query, Refusal,
    SESSIONS_MAX, Step, TXN_BYTES_MAX, TxnAnswer, TxnFault, VALUE_BYTES_MAX, Verb,
};

use forgotten::Forgotten;
use keys::Write;

use crate::{
    entry::{BadRecord, Entry, Key},
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
    forgotten: Forgotten,
    /// The last revision that changed a session.
    sessions_modified: Revision,
    revision: Revision,
    /// What the present step has touched, as it was before, in order.
    touched: Vec<(Key, Option<Entry>)>,
    /// What the present step has to write besides.
    writes: Vec<Operation>,
}

#[derive(Debug)]
struct Live {
    session: Session,
    deadline: Option<Duration>,
}

impl Engine {
    /// Takes up what was stored. Sessions have their whole time again, because nobody could
    /// renew them in between.
    ///
    /// # Errors
    /// [`BadRecord`] of the first record that is none of ours.
    pub fn restore(
        now: Moment,
        records: impl IntoIterator<Item = (LedgerKey, Bytes)>,
    ) -> Result<Self, BadRecord> {
        let mut engine = Self::empty();
        for (key, value) in records {
            let key = str::from_utf8(key.as_bytes())
                .map_err(|_| BadRecord("its key is no text".to_owned()))?;
            if let Some(key) = key.strip_prefix(ENTRIES) {
                let entry = Entry::decode(&value)?;
                engine.revision = engine.revision.max(entry.modified);
                engine.entries.insert(key.into(), entry);
            } else if key.starts_with(SESSIONS) {
                let session: Session =
                    serde_json::from_slice(&value).map_err(|error| BadRecord(error.to_string()))?;
                engine.revision = engine.revision.max(session.created);
                engine.take_in(now, session);
            } else if key == INDEX {
                let raw = <[u8; 8]>::try_from(&value[..])
                    .map_err(|_| BadRecord("its index is no number".to_owned()))?;
                let revision = Revision::from_u64(u64::from_be_bytes(raw));
                engine.revision = engine.revision.max(revision);
            }
        }
        engine.settle();
        Ok(engine)
    }

    /// Keys that can't be locked yet, which nobody stores: an engine that takes the place of
    /// this one goes on with them.
    #[must_use]
    pub fn delays(&self) -> BTreeMap<Arc<str>, Duration> {
        self.delayed.clone()
    }

    /// Goes on with the delays of an engine on the same clock.
    #[must_use]
    pub fn with_delays(mut self, delays: BTreeMap<Arc<str>, Duration>) -> Self {
        self.delayed = delays;
        self
    }

    fn empty() -> Self {
        Self {
            entries: BTreeMap::new(),
            sessions: BTreeMap::new(),
            held: BTreeMap::new(),
            delayed: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            forgotten: Forgotten::new(Revision::FIRST),
            sessions_modified: Revision::FIRST,
            revision: Revision::FIRST,
            touched: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// What holds after everything was taken in.
    fn settle(&mut self) {
        self.forgotten = Forgotten::new(self.revision);
        self.sessions_modified = self.revision;
        for (key, entry) in &mut self.entries {
            // A session that went while its last keys were being unlocked.
            let gone = entry.session.take_if(|id| !self.sessions.contains_key(id));
            if let (None, Some(id)) = (gone, &entry.session) {
                let keys = self.held.entry(id.clone()).or_default();
                keys.insert(Key::clone(key));
            }
        }
    }

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
            Input::CheckFailed(check) => Answer::Done(self.check_failed(now, next, &check)),
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
        if !writes.is_empty() {
            self.revision = next;
            let index = Bytes::copy_from_slice(&next.as_u64().to_be_bytes());
            writes.push(Operation::Put(stored_key("", INDEX), index));
        }
        Step {
            answer,
            changed: changed.into_iter().collect(),
            sessions_changed: self.sessions_modified > before,
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
        }
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
