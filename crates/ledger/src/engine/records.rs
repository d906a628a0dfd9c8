//! What is stored, and how an engine comes back from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use portolan_model::{Revision, RevisionClock};
use portolan_store::LedgerKey;

use super::{
    ENTRIES, Engine, Forgotten, INDEX, KEY_BYTES_MAX, LEDGER_BYTES_MAX, Moment, Objects, SESSIONS,
    SESSIONS_MAX, keys::size_of, stored_key,
};
use crate::{
    entry::{BadRecord, Entry, Key},
    object::Kind,
    session::{Session, SessionId},
};

/// Longest key of a record: that of an object or key, and where it stands.
const STORED_KEY_BYTES_MAX: usize = KEY_BYTES_MAX + 16;
/// What the highest index may be to go on from: clients read indexes into floats.
const INDEX_MAX: u64 = 1 << 52;

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
            engine.take_record(now, key, &value)?;
        }
        engine.settle();
        Ok(engine)
    }

    fn take_record(&mut self, now: Moment, key: &str, value: &Bytes) -> Result<(), BadRecord> {
        if key.len() > STORED_KEY_BYTES_MAX {
            return Err(BadRecord("its key is too long".to_owned()));
        }
        if let Some(key) = key.strip_prefix(ENTRIES) {
            let entry = Entry::decode(value)?;
            self.revision = self.revision.max(entry.modified);
            let key = Key::from(key);
            self.bytes += size_of(&key, &entry);
            self.entries.insert(key, entry);
        } else if let Some(id) = key.strip_prefix(SESSIONS) {
            let session = session(id, value)?;
            self.revision = self.revision.max(session.created);
            self.take_in(now, session);
        } else if key == INDEX {
            let raw = <[u8; 8]>::try_from(&value[..])
                .map_err(|_| BadRecord("its index is no number".to_owned()))?;
            let revision = Revision::from_u64(u64::from_be_bytes(raw));
            self.revision = self.revision.max(revision);
        } else if !self.take_object(key, value)? {
            return Err(BadRecord("its kind is unknown".to_owned()));
        }
        Ok(())
    }

    /// Everything, as it is stored.
    pub fn records(&self) -> impl Iterator<Item = (LedgerKey, Bytes)> {
        let entries = self.entries.iter();
        let entries = entries.map(|(key, entry)| (stored_key(ENTRIES, key), entry.encode()));
        let sessions = self.sessions.values().map(|live| {
            let stored = stored_key(SESSIONS, live.session.id.as_str());
            // Texts and numbers can always be written.
            let text = serde_json::to_vec(&live.session).unwrap_or_default();
            (stored, Bytes::from(text))
        });
        let index = Bytes::copy_from_slice(&self.revision.as_u64().to_be_bytes());
        let all = entries.chain(sessions).chain(self.stored_objects());
        all.chain([(stored_key("", INDEX), index)])
    }

    /// What stands in this one's place when everything is to be as those records have it. What
    /// is different then has changed now, so that no index goes back.
    ///
    /// # Errors
    /// [`BadRecord`] of the first record that is none of ours.
    pub fn replaced_by(
        &self,
        now: Moment,
        records: impl IntoIterator<Item = (LedgerKey, Bytes)>,
    ) -> Result<Self, BadRecord> {
        let mut other = Self::restore(now, records)?;
        if other.counts().bytes > LEDGER_BYTES_MAX || other.sessions.len() > SESSIONS_MAX {
            return Err(BadRecord("it is more than a ledger may hold".to_owned()));
        }
        if other.revision.as_u64() > INDEX_MAX {
            return Err(BadRecord("its index is none of ours".to_owned()));
        }
        let highest = self.revision.max(other.revision);
        let next = RevisionClock::new(highest).next(now.at);
        for (key, entry) in &mut other.entries {
            if self.entries.get(key) != Some(entry) {
                entry.modified = next;
            }
        }
        for kind in Kind::ALL {
            other.objects.touch(kind, next);
        }
        other.revision = next;
        other.sessions_modified = next;
        other.forgotten = Forgotten::new(next);
        other.delayed = self.delayed.clone();
        Ok(other)
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
            objects: Objects::default(),
            forgotten: Forgotten::new(Revision::FIRST),
            bytes: 0,
            sessions_modified: Revision::FIRST,
            revision: Revision::FIRST,
            touched: Vec::new(),
            touched_objects: Vec::new(),
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
        for place in self.objects.orphans(|id| self.sessions.contains_key(id)) {
            self.objects.replace(&place, None);
        }
    }
}

/// A stored session. What no client could have made is refused: an id that is another than its
/// record's could not be written under its own, and a span without bounds never ends.
fn session(id: &str, value: &Bytes) -> Result<Session, BadRecord> {
    let session: Session =
        serde_json::from_slice(value).map_err(|error| BadRecord(error.to_string()))?;
    if SessionId::new(id).as_ref() != Some(&session.id) {
        return Err(BadRecord("its session has no id, or another".to_owned()));
    }
    if !session.terms.are_in_range() {
        return Err(BadRecord("its session's spans are too long".to_owned()));
    }
    Ok(session)
}
