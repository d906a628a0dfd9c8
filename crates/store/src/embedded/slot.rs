//! The open database, for the thread that writes and those that read.

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::{Database, ReadTransaction, ReadableDatabase, WriteTransaction};

use crate::StoreError;

/// The lock guards the open database or why there is none; it is held to begin a transaction
/// and to open and close, not while one runs.
#[derive(Debug)]
pub(super) struct Slot {
    database: Mutex<Result<Database, StoreError>>,
    path: PathBuf,
}

impl Slot {
    pub(super) fn new(path: PathBuf, database: Database) -> Self {
        Self {
            database: Mutex::new(Ok(database)),
            path,
        }
    }

    pub(super) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        match &*self.lock() {
            Ok(database) => database
                .begin_read()
                .map_err(|error| StoreError::of_engine(&self.path, error)),
            Err(why) => Err(why.clone()),
        }
    }

    pub(super) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        match &*self.lock() {
            Ok(database) => database
                .begin_write()
                .map_err(|error| StoreError::of_engine(&self.path, error)),
            Err(why) => Err(why.clone()),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().is_ok()
    }

    /// Puts `next` in place of what is there, which is closed.
    pub(super) fn replace(&self, next: Result<Database, StoreError>) {
        *self.lock() = next;
    }

    fn lock(&self) -> MutexGuard<'_, Result<Database, StoreError>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
