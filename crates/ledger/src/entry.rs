//! A key's value and what goes with it, and how it is stored.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use portolan_model::Revision;

use crate::SessionId;

/// The first byte of a stored entry.
const LAYOUT: u8 = 1;
/// Layout, flags, locks, created, modified, length of the session's id.
const HEAD_BYTES: usize = 1 + 4 * 8 + 1;

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// A number that clients keep with it.
    pub flags: u64,
    /// How often a session took the lock.
    pub locks: u64,
    /// Who holds the lock.
    pub session: Option<SessionId>,
    /// The revision that made it.
    pub created: Revision,
    /// The revision that changed it last.
    pub modified: Revision,
}

/// A stored record that this program did not write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of the ledger can't be read: {0}")]
pub struct BadRecord(pub(crate) String);

impl Entry {
    /// Whether a write of `other` would change nothing.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        self.value == other.value
            && self.flags == other.flags
            && self.locks == other.locks
            && self.session == other.session
    }

    pub(crate) fn encode(&self) -> Bytes {
        let session = self.session.as_ref().map_or("", |id| id.as_str());
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + session.len() + self.value.len());
        bytes.put_u8(LAYOUT);
        bytes.put_u64(self.flags);
        bytes.put_u64(self.locks);
        bytes.put_u64(self.created.as_u64());
        bytes.put_u64(self.modified.as_u64());
        // Ids are checked to be short when they are made.
        bytes.put_u8(u8::try_from(session.len()).unwrap_or(u8::MAX));
        bytes.put_slice(session.as_bytes());
        bytes.put_slice(&self.value);
        bytes.freeze()
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, BadRecord> {
        let bad = |what: &str| BadRecord(what.to_owned());
        let head = bytes
            .get(..HEAD_BYTES)
            .ok_or_else(|| bad("it is too short"))?;
        if head.first() != Some(&LAYOUT) {
            return Err(bad("its layout is unknown"));
        }
        let number = |index: usize| {
            let mut raw = [0; 8];
            let from = 1 + index * 8;
            raw.copy_from_slice(&head[from..from + 8]);
            u64::from_be_bytes(raw)
        };
        let length = usize::from(head[HEAD_BYTES - 1]);
        let session = bytes
            .get(HEAD_BYTES..HEAD_BYTES + length)
            .ok_or_else(|| bad("it is too short"))?;
        let session = match session {
            [] => None,
            text => {
                let text = str::from_utf8(text).map_err(|_| bad("its session is no text"))?;
                Some(SessionId::new(text).ok_or_else(|| bad("its session has no id"))?)
            }
        };
        Ok(Self {
            flags: number(0),
            locks: number(1),
            created: Revision::from_u64(number(2)),
            modified: Revision::from_u64(number(3)),
            session,
            value: bytes.slice(HEAD_BYTES + length..),
        })
    }
}

/// The text of a key; a clone shares it.
pub(crate) type Key = Arc<str>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn entries_come_back(
            value in proptest::collection::vec(any::<u8>(), 0..40),
            numbers in any::<(u64, u64, u64, u64)>(),
            session in proptest::option::of("[a-f0-9-]{1,36}"),
        ) {
            let entry = Entry {
                value: value.into(),
                flags: numbers.0,
                locks: numbers.1,
                session: session.and_then(|id| SessionId::new(&id)),
                created: Revision::from_u64(numbers.2),
                modified: Revision::from_u64(numbers.3),
            };
            prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }

        #[test]
        fn foreign_records_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _any = Entry::decode(&bytes.into());
        }
    }
}
