//! All of the ledger in one stream of bytes, to be kept elsewhere and to come back from.
//!
//! A first line that names the format; then records, each its key's and its value's length (four
//! bytes, the highest first), its key and its value; then four bytes of ones and the SHA-256 of
//! everything before. A stream that was cut off or changed is told from a whole one by its end.
//!
//! Invariant: what is read is what was written, or refused.

use std::{collections::BTreeMap, vec};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use portolan_store::LedgerKey;
use ring::digest::{Context, Digest, SHA256};

use crate::{LEDGER_BYTES_MAX, Ledger, LedgerError, shell::Records};

/// The first line.
const FORMAT: &[u8] = b"portolan ledger 1\n";
/// A length that is none: what follows is the digest.
const END: u32 = u32::MAX;
/// About as much is written at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// Largest snapshot: of everything that a ledger may hold, with what frames it.
pub const SNAPSHOT_BYTES_MAX: usize = 2 * LEDGER_BYTES_MAX;

/// A stream that is no snapshot of ours, or no whole one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no snapshot of Portolan's ledger: {0}")]
pub struct BadSnapshot(&'static str);

/// All of a ledger at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(Records);

/// A snapshot on its way out.
pub struct Chunks {
    records: vec::IntoIter<(LedgerKey, Bytes)>,
    digest: Option<Context>,
    is_begun: bool,
}

impl Ledger {
    /// Everything, as of now.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn snapshot(&self) -> Result<Snapshot, LedgerError> {
        self.records().await.map(Snapshot)
    }

    /// Puts a snapshot in place of everything: whole or, if it fails, not at all. Sessions have
    /// their whole time again; what is different has a new index, so that none goes back.
    ///
    /// # Errors
    /// [`LedgerError`]; [`LedgerError::Record`] is the snapshot's fault.
    pub async fn restore(&self, snapshot: Snapshot) -> Result<(), LedgerError> {
        self.replace(snapshot.0).await
    }
}

impl Snapshot {
    /// Reads a whole stream.
    ///
    /// # Errors
    /// [`BadSnapshot`].
    pub fn read(bytes: &Bytes) -> Result<Self, BadSnapshot> {
        let mut rest = bytes.clone();
        if !rest.starts_with(FORMAT) {
            return Err(BadSnapshot("its first line is another"));
        }
        rest.advance(FORMAT.len());
        // A record that comes twice is there once.
        let mut records = BTreeMap::new();
        loop {
            let length = take_length(&mut rest)?;
            if length == END {
                break;
            }
            let value_length = take_length(&mut rest)?;
            let key = take(&mut rest, length)?;
            let value = take(&mut rest, value_length)?;
            let key = LedgerKey::new(key).map_err(|_| BadSnapshot("a key is too long"))?;
            records.insert(key, value);
        }
        let signed = bytes.len().saturating_sub(rest.len());
        let digest = ring::digest::digest(&SHA256, bytes.get(..signed).unwrap_or_default());
        if rest != digest.as_ref() {
            return Err(BadSnapshot("it is cut off or was changed"));
        }
        Ok(Self(records.into_iter().collect()))
    }

    /// The stream, piece by piece.
    #[must_use]
    pub fn chunks(self) -> Chunks {
        Chunks {
            records: self.0.into_iter(),
            digest: Some(Context::new(&SHA256)),
            is_begun: false,
        }
    }
}

#[cfg(test)]
impl Snapshot {
    /// Adds a record that nobody writes.
    pub(crate) fn spoil(&mut self) {
        let key = LedgerKey::new("nonsense").unwrap_or_default();
        self.0.push((key, Bytes::new()));
    }
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut digest = self.digest.take()?;
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        if !self.is_begun {
            self.is_begun = true;
            chunk.put_slice(FORMAT);
        }
        while chunk.len() < CHUNK_BYTES {
            let Some((key, value)) = self.records.next() else {
                chunk.put_u32(END);
                digest.update(&chunk);
                let digest: Digest = digest.finish();
                chunk.put_slice(digest.as_ref());
                return Some(chunk.freeze());
            };
            chunk.put_u32(length_of(key.as_bytes()));
            chunk.put_u32(length_of(&value));
            chunk.put_slice(key.as_bytes());
            chunk.put_slice(&value);
        }
        digest.update(&chunk);
        self.digest = Some(digest);
        Some(chunk.freeze())
    }
}

/// Records are far smaller than what a length has room for.
fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(END - 1)
}

fn take_length(rest: &mut Bytes) -> Result<u32, BadSnapshot> {
    rest.try_get_u32().map_err(|_| BadSnapshot("it is cut off"))
}

fn take(rest: &mut Bytes, length: u32) -> Result<Bytes, BadSnapshot> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > rest.len() {
        return Err(BadSnapshot("it is cut off"));
    }
    Ok(rest.split_to(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use ring::digest::SHA256_OUTPUT_LEN;

    use super::*;

    fn bytes_of(snapshot: Snapshot) -> Bytes {
        let chunks: Vec<Bytes> = snapshot.chunks().collect();
        chunks.concat().into()
    }

    fn snapshot(records: BTreeMap<Vec<u8>, Vec<u8>>) -> Snapshot {
        let records = records.into_iter();
        let made = records.map(|(key, value)| (LedgerKey::new(key).unwrap(), value.into()));
        Snapshot(made.collect())
    }

    proptest! {
        #[test]
        fn snapshots_come_back(
            records in proptest::collection::btree_map(
                proptest::collection::vec(any::<u8>(), 0..9),
                (any::<u8>(), 0_usize..40_000), 0..9),
        ) {
            let filled = records.into_iter().map(|(key, (byte, size))| (key, vec![byte; size]));
            let records = filled.collect();
            let before = snapshot(records);
            prop_assert_eq!(Snapshot::read(&bytes_of(before.clone())), Ok(before));
        }

        #[test]
        fn what_was_cut_off_or_changed_is_refused(at in 0_usize..1000, bit in 0_u8..8) {
            let whole = bytes_of(snapshot(BTreeMap::from([(b"k".to_vec(), vec![7; 100])])));
            let at = at % whole.len();
            prop_assert!(Snapshot::read(&whole.slice(..at)).is_err());
            let mut changed = whole.to_vec();
            changed[at] ^= 1 << bit;
            prop_assert!(Snapshot::read(&changed.into()).is_err());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut whole = FORMAT.to_vec();
            whole.extend(&bytes);
            let _any = Snapshot::read(&whole.into());
        }
    }

    #[test]
    fn a_digest_holds_for_this_stream_only() {
        let whole = bytes_of(snapshot(BTreeMap::new()));
        assert_eq!(whole.len(), FORMAT.len() + 4 + SHA256_OUTPUT_LEN);
    }
}
