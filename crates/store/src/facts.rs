//! The seam of the catalogue: facts by key, and the journal of how they came about.
//!
//! A fact is opaque here: whoever owns a kind knows its encoding. Facts are replaced and
//! removed, never compared; what must be compared belongs into the ledger.

use std::fmt;

use bytes::Bytes;
use portolan_model::{BadName, InstanceId, Name, Revision, ServiceKey, Timestamp};
use tokio::sync::watch;

use crate::{Condition, Later, StoreError, error::check_size};

/// Most bytes of keys and values in a batch.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Most lines of the journal that are read, the latest ones.
pub const JOURNAL_TAIL_MAX: usize = 8_192;
/// Parts of a key are apart by what no name and no id can hold.
const SEPARATOR: u8 = 0;

/// The catalogue's records.
///
/// Implementors take a batch without waiting, apply batches whole and in the order of the calls,
/// and answer when a batch would survive a loss of power. `commit` is called for each change of
/// the catalogue, up to thousands of times a second, and must not block; if a commit fails, the
/// caller goes on with what it has in memory and writes it again when the condition is healthy.
pub trait Facts: fmt::Debug + Send + Sync {
    /// Writes a batch.
    fn commit(&self, batch: Batch) -> Later<()>;

    /// Everything, once, at the start.
    fn load(&self) -> Later<Loaded>;

    /// The latest lines of the journal, oldest first: [`JOURNAL_TAIL_MAX`] at most.
    fn journal(&self) -> Later<Vec<JournalLine>>;

    /// How the store is, now and when it changes.
    fn condition(&self) -> watch::Receiver<Condition>;
}

/// Which fact. Ordered by kind, namespace, service and id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FactKey {
    /// What kind of fact: its owner knows how the value is written.
    pub kind: Name,
    /// The service that it is about.
    pub service: ServiceKey,
    /// The instance that it is about; a fact of the whole service has none.
    pub id: Option<InstanceId>,
}

/// A stored key that nobody can have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFactKey {
    /// A part is missing, or there is one too many.
    #[error("a key of a fact has {0} parts")]
    Parts(usize),
    /// A part is no text.
    #[error("a key of a fact is no text")]
    Text,
    /// A part is no name.
    #[error(transparent)]
    Name(#[from] BadName),
}

impl FactKey {
    /// The stored form; keys sort as their stored forms do.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let id = self.id.as_ref().map_or("", |id| id.as_str());
        let parts = [
            self.kind.as_str(),
            self.service.namespace.as_str(),
            self.service.name.as_str(),
            id,
        ];
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                bytes.push(SEPARATOR);
            }
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadFactKey> {
        let text = str::from_utf8(bytes).map_err(|_| BadFactKey::Text)?;
        let mut parts = text.split(char::from(SEPARATOR));
        let (Some(kind), Some(namespace), Some(name), Some(id), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(BadFactKey::Parts(text.split(char::from(SEPARATOR)).count()));
        };
        Ok(Self {
            kind: Name::parse(kind)?,
            service: ServiceKey {
                namespace: Name::parse(namespace)?,
                name: Name::parse(name)?,
            },
            id: if id.is_empty() {
                None
            } else {
                Some(InstanceId::parse(id)?)
            },
        })
    }
}

/// A line of the journal: what one revision was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalLine {
    /// The revision; a line replaces an earlier one of the same revision.
    pub revision: Revision,
    /// When it was.
    pub at: Timestamp,
    /// What happened, in the encoding of whoever writes the journal.
    pub text: Bytes,
}

/// Changes that are applied whole, in the order in which they were put in.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) changes: Vec<(FactKey, Option<Bytes>)>,
    pub(crate) lines: Vec<JournalLine>,
    pub(crate) revision: Option<Revision>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a fact, in place of the one with that key.
    pub fn put(&mut self, key: FactKey, value: impl Into<Bytes>) -> &mut Self {
        self.changes.push((key, Some(value.into())));
        self
    }

    /// Removes a fact; one that is not there is no error.
    pub fn remove(&mut self, key: FactKey) -> &mut Self {
        self.changes.push((key, None));
        self
    }

    /// Writes a line of the journal, and remembers its revision as [`Batch::reach`] does.
    pub fn write(&mut self, line: JournalLine) -> &mut Self {
        self.reach(line.revision);
        self.lines.push(line);
        self
    }

    /// The revision that it remembers, if any.
    #[must_use]
    pub const fn reached(&self) -> Option<Revision> {
        self.revision
    }

    /// Remembers that this revision was handed out: after a restart none is below it.
    pub fn reach(&mut self, revision: Revision) -> &mut Self {
        self.revision = self.revision.max(Some(revision));
        self
    }

    /// The facts that it writes, or removes where there is no value, in order.
    pub fn changes(&self) -> impl Iterator<Item = (&FactKey, Option<&Bytes>)> {
        self.changes
            .iter()
            .map(|(key, value)| (key, value.as_ref()))
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.lines.is_empty() && self.revision.is_none()
    }

    pub(crate) fn bytes(&self) -> usize {
        let fact = |(key, value): &(FactKey, Option<Bytes>)| {
            let id = key.id.as_ref().map_or(0, |id| id.as_str().len());
            let names = [&key.kind, &key.service.namespace, &key.service.name];
            let names: usize = names.iter().map(|name| name.as_str().len()).sum();
            id + names + value.as_ref().map_or(0, Bytes::len)
        };
        let facts: usize = self.changes.iter().map(fact).sum();
        facts + self.lines.iter().map(|line| line.text.len()).sum::<usize>()
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        check_size("a batch", self.bytes(), BATCH_BYTES_MAX)
    }
}

/// Everything that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The facts, sorted by their keys.
    pub facts: Vec<(FactKey, Bytes)>,
    /// The revision of the journal's last line; the first of all if it has none.
    pub journaled: Revision,
    /// The highest revision that was ever committed: what comes next must be above it.
    pub revision: Revision,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(kind: &str, service: &str, id: Option<&str>) -> FactKey {
        FactKey {
            kind: Name::parse(kind).unwrap(),
            service: ServiceKey::parse(service).unwrap(),
            id: id.map(|id| InstanceId::parse(id).unwrap()),
        }
    }

    proptest! {
        #[test]
        fn keys_come_back_and_keep_their_order(
            a in ("[a-z.:-]{1,4}", "[a-z-]{1,3}/[a-z-]{1,3}", proptest::option::of("[!-.0-~]{1,4}")),
            b in ("[a-z.:-]{1,4}", "[a-z-]{1,3}/[a-z-]{1,3}", proptest::option::of("[!-.0-~]{1,4}")),
        ) {
            let a = key(&a.0, &a.1, a.2.as_deref());
            let b = key(&b.0, &b.1, b.2.as_deref());
            prop_assert_eq!(FactKey::decode(&a.encode()), Ok(a.clone()));
            prop_assert_eq!(a.encode().cmp(&b.encode()), a.cmp(&b));
        }
    }

    #[test]
    fn foreign_keys_are_refused() {
        for bytes in [
            &b""[..],
            b"a\0b\0c",
            b"a\0b\0c\0d\0e",
            b"\xff\0b\0c\0d",
            b"a\0\0c\0d",
        ] {
            assert!(FactKey::decode(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_batch_is_refused_one_past_its_limit() {
        let lease = key("lease", "orders", Some("a"));
        let room = BATCH_BYTES_MAX - "lease".len() - "default".len() - "orders".len() - 1;
        let of = |size: usize| {
            let mut batch = Batch::new();
            batch.put(lease.clone(), vec![0; size]);
            batch
        };
        assert!(of(room).check().is_ok());
        let refused = of(room + 1).check();
        assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
    }

    #[test]
    fn a_batch_reaches_its_highest_revision() {
        let mut batch = Batch::new();
        assert!(batch.is_empty());
        batch.reach(Revision::from_u64(9)).write(JournalLine {
            revision: Revision::from_u64(7),
            at: Timestamp::from_millis(0),
            text: Bytes::new(),
        });
        assert_eq!(batch.revision, Some(Revision::from_u64(9)));
    }
}
