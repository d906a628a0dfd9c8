//! One key at a time.

use bytes::Bytes;
use portolan_model::Revision;
use portolan_store::Operation;

use super::{
    Answer, ENTRIES, Engine, KEY_BYTES_MAX, Mode, Moment, Refusal, VALUE_BYTES_MAX, stored_key,
};
use crate::{
    entry::{Entry, Key},
    session::SessionId,
};

/// With more keys than this a tree is deleted by its prefix.
const DELETED_ONE_BY_ONE_MAX: usize = 512;

/// A write of one key.
pub(super) struct Write {
    pub(super) key: Key,
    pub(super) value: Bytes,
    pub(super) flags: u64,
    pub(super) mode: Mode,
}

/// What a key costs besides its own bytes and its value's.
const KEY_OVERHEAD_BYTES: usize = 128;

pub(super) fn size_of(key: &Key, entry: &Entry) -> usize {
    size_of_parts(key, &entry.value)
}

fn size_of_parts(key: &str, value: &Bytes) -> usize {
    key.len() + value.len() + KEY_OVERHEAD_BYTES
}

pub(super) fn check_key(key: &str) -> Result<(), Refusal> {
    if key.is_empty() {
        return Err(Refusal::NoKey);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(Refusal::KeyTooLong(key.len()));
    }
    Ok(())
}

impl Engine {
    pub(super) fn set(&mut self, now: Moment, next: Revision, write: Write) -> Answer {
        match self.try_set(now, next, write) {
            Ok(()) => Answer::Done(true),
            Err(
                Refusal::StaleIndex(_)
                | Refusal::LockHeld(_)
                | Refusal::LockNotHeld(_)
                | Refusal::KeyExists(_),
            ) => Answer::Done(false),
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    /// Writes a key on a condition.
    pub(super) fn try_set(
        &mut self,
        now: Moment,
        next: Revision,
        write: Write,
    ) -> Result<(), Refusal> {
        let Write {
            key,
            value,
            flags,
            mode,
        } = write;
        check_key(&key)?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(Refusal::ValueTooLarge(value.len()));
        }
        self.check_mode(now, &key, &mode)?;
        let before = self.entries.get(&key);
        let size_before = before.map_or(0, |entry| size_of(&key, entry));
        self.check_room(size_of_parts(&key, &value), size_before)?;
        let mut entry = Entry {
            value,
            flags,
            locks: before.map_or(0, |entry| entry.locks),
            session: before.and_then(|entry| entry.session.clone()),
            created: before.map_or(next, |entry| entry.created),
            modified: next,
        };
        match &mode {
            Mode::Always | Mode::Absent | Mode::At(_) => {}
            Mode::Acquire(id) => {
                // The holder may write again; only taking the lock counts.
                entry.locks += u64::from(entry.session.is_none());
                entry.session = Some(id.clone());
            }
            Mode::Release(_) => entry.session = None,
        }
        if before.is_none_or(|before| !before.says_the_same(&entry)) {
            self.put(&key, Some(entry));
        }
        Ok(())
    }

    fn check_mode(&self, now: Moment, key: &Key, mode: &Mode) -> Result<(), Refusal> {
        let before = self.entries.get(key);
        let holder = before.and_then(|entry| entry.session.as_ref());
        match mode {
            Mode::Always => Ok(()),
            Mode::Absent if before.is_none() => Ok(()),
            Mode::At(index) if before.is_some_and(|entry| entry.modified == *index) => Ok(()),
            Mode::Absent | Mode::At(_) => Err(Refusal::StaleIndex(Key::clone(key))),
            Mode::Acquire(id) => self.check_acquire(now, key, holder, id),
            Mode::Release(id) if holder == Some(id) => Ok(()),
            Mode::Release(_) => Err(Refusal::LockNotHeld(Key::clone(key))),
        }
    }

    fn check_acquire(
        &self,
        now: Moment,
        key: &Key,
        holder: Option<&SessionId>,
        id: &SessionId,
    ) -> Result<(), Refusal> {
        if !self.sessions.contains_key(id) {
            return Err(Refusal::NoSession(id.clone()));
        }
        let is_delayed = self
            .delayed
            .get(key)
            .is_some_and(|until| now.uptime < *until);
        let is_free = holder.is_none() && !is_delayed;
        if is_free || holder == Some(id) {
            Ok(())
        } else {
            Err(Refusal::LockHeld(Key::clone(key)))
        }
    }

    /// Deletes a key; false if it has another index than it must. One that is not there is gone
    /// as it should be.
    pub(super) fn delete(&mut self, key: &Key, index: Option<Revision>) -> bool {
        let Some(entry) = self.entries.get(key) else {
            return true;
        };
        if index.is_some_and(|index| entry.modified != index) {
            return false;
        }
        self.put(key, None);
        true
    }

    pub(super) fn delete_tree(&mut self, prefix: &str) {
        let keys: Vec<Key> = self.tree(prefix).map(|(key, _)| Key::clone(key)).collect();
        for key in &keys {
            self.put(key, None);
        }
        if keys.len() > DELETED_ONE_BY_ONE_MAX {
            let prefix = stored_key(ENTRIES, prefix);
            self.writes.push(Operation::DeletePrefix(prefix));
        }
    }

    /// Changes an entry, and remembers what it was.
    pub(super) fn put(&mut self, key: &Key, entry: Option<Entry>) {
        let before = self.replace(key, entry);
        self.touched.push((Key::clone(key), before));
    }

    pub(super) fn replace(&mut self, key: &Key, entry: Option<Entry>) -> Option<Entry> {
        let holder = entry.as_ref().and_then(|entry| entry.session.clone());
        let before = match entry {
            Some(entry) => self.entries.insert(Key::clone(key), entry),
            None => self.entries.remove(key),
        };
        self.bytes -= before.as_ref().map_or(0, |entry| size_of(key, entry));
        let after = self.entries.get(key);
        self.bytes += after.map_or(0, |entry| size_of(key, entry));
        let left = before.as_ref().and_then(|entry| entry.session.clone());
        if left != holder {
            if let Some(left) = left {
                self.let_go(&left, key);
            }
            if let Some(holder) = holder {
                self.held.entry(holder).or_default().insert(Key::clone(key));
            }
        }
        before
    }

    fn let_go(&mut self, id: &SessionId, key: &Key) {
        if let Some(keys) = self.held.get_mut(id) {
            keys.remove(key);
            if keys.is_empty() {
                self.held.remove(id);
            }
        }
    }
}
