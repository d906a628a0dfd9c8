//! Writes again what a failed sync may have lost.
//!
//! After a sync that failed, the system holds the pages of that sync for clean: the next one
//! succeeds without them, and what is built on them is gone with the power. So everything written
//! since the last good sync is kept in memory, and written again before the file is used again.
//! Source: A. Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020.

use std::{
    io,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::{BackendError, StorageBackend};

/// Bytes that are kept; a transaction of more is synced in parts.
const UNSYNCED_BYTES_MAX: usize = 32 << 20;

/// What was written since the last good sync; outlives the backends that are opened one after
/// the other. The lock guards the list, and is held while it is written again.
#[derive(Debug, Default)]
pub(super) struct Unsynced(Mutex<Writes>);

#[derive(Debug, Default)]
struct Writes {
    list: Vec<(u64, Box<[u8]>)>,
    bytes: usize,
    /// A sync failed: the system may have let go of them.
    are_lost: bool,
}

/// A backend whose failed syncs lose nothing.
#[derive(Debug)]
pub(super) struct Rewriting<B> {
    inner: B,
    unsynced: Arc<Unsynced>,
}

impl<B: StorageBackend> Rewriting<B> {
    /// Settles what the backend before this one left behind.
    pub(super) fn new(inner: B, unsynced: Arc<Unsynced>) -> io::Result<Self> {
        unsynced.settle(&inner)?;
        Ok(Self { inner, unsynced })
    }
}

impl Unsynced {
    fn settle(&self, inner: &impl StorageBackend) -> io::Result<()> {
        let mut writes = self.lock();
        if !writes.are_lost {
            return Ok(());
        }
        let length = inner.len()?;
        inner.set_len(length)?;
        for (offset, data) in &writes.list {
            // The file may have been cut after the write.
            if offset + data.len() as u64 <= length {
                inner.write(*offset, data)?;
            }
        }
        writes.sync(inner)
    }

    fn lock(&self) -> MutexGuard<'_, Writes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writes {
    fn sync(&mut self, inner: &impl StorageBackend) -> io::Result<()> {
        if let Err(error) = inner.sync_data() {
            self.are_lost = true;
            return Err(error);
        }
        *self = Self::default();
        Ok(())
    }
}

impl<B: StorageBackend> StorageBackend for Rewriting<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.inner.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.unsynced.lock().sync(&self.inner)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write(offset, data)?;
        let mut writes = self.unsynced.lock();
        writes.bytes += data.len();
        writes.list.push((offset, data.into()));
        if writes.bytes > UNSYNCED_BYTES_MAX {
            return writes.sync(&self.inner);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
