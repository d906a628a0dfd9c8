//! Backups and their way back.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    ops::Bound,
    path::{Path, PathBuf},
};

use portolan_model::{ByteSize, Revision};
use redb::{
    Builder, Error, Key, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageBackend, TableDefinition, Value, WriteTransaction, backends::FileBackend,
};

use super::{
    disk::{open_database, sync_folder, with_suffix},
    format::{self, FormatVersion},
    log::FactLog,
    read,
    tables::{FACTS, JOURNAL, LEDGER, META},
};
use crate::StoreError;

/// How every file of the engine begins.
const MAGIC: &[u8] = b"redb";
/// Memory for pages while a file is copied or verified.
const CACHE: ByteSize = ByteSize::from_bytes(32 << 20);
/// Most files that were replaced by restores and are kept.
const SET_ASIDE_MAX: usize = 100;

/// What a restore has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Facts that the backup holds.
    pub facts: u64,
    /// Records of the ledger that it holds.
    pub records: u64,
    /// Its highest revision.
    pub revision: Revision,
    /// The format that it was written in.
    pub format: FormatVersion,
    /// Where the file is that it took the place of.
    pub set_aside: Option<PathBuf>,
}

/// Puts a backup, or a copy of a store that was not running, in the place of a store that is not
/// running. The backup is verified first, stays as it is, and is brought up to the present
/// format; the file in its place, whatever it is, is kept beside under another name. Blocks.
///
/// # Errors
/// [`StoreError::Locked`] if the store runs; [`StoreError::Damaged`] and [`StoreError::Newer`]
/// name the backup; nothing is in the store's place then but what was.
pub fn restore(from: &Path, to: &Path) -> Result<Restored, StoreError> {
    let beside = with_suffix(to, ".restoring");
    let done = prepare(from, &beside).and_then(|mut restored| {
        restored.set_aside = put_in_place(&beside, to)?;
        Ok(restored)
    });
    if done.is_err() {
        // What is left over is of no use; the next restore would write over it.
        let _left = fs::remove_file(&beside);
    }
    done
}

/// Copies the state that a transaction sees.
pub(super) fn backup(
    transaction: &ReadTransaction,
    own: &Path,
    to: &Path,
) -> Result<Revision, StoreError> {
    let is_own =
        fs::canonicalize(to).is_ok_and(|to| fs::canonicalize(own).is_ok_and(|own| own == to));
    if is_own || !is_replaceable(to).map_err(|error| StoreError::io(to, error))? {
        return Err(StoreError::Exists {
            path: to.to_owned(),
        });
    }
    let beside = with_suffix(to, ".partial");
    let done = write_copy(transaction, &beside)
        .map_err(|error| StoreError::of_engine(to, error))
        .and_then(|revision| {
            fs::rename(&beside, to)
                .and_then(|()| sync_folder(to))
                .map_err(|error| StoreError::io(to, error))?;
            Ok(revision)
        });
    if done.is_err() {
        let _left = fs::remove_file(&beside);
    }
    done
}

/// Whether there is nothing, or what an earlier backup may have written.
fn is_replaceable(to: &Path) -> io::Result<bool> {
    let mut magic = [0; MAGIC.len()];
    match File::open(to) {
        Ok(mut file) => {
            Ok(file.metadata()?.is_file() && file.read_exact(&mut magic).is_ok() && magic == MAGIC)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn write_copy(from: &ReadTransaction, to: &Path) -> Result<Revision, Error> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(to)?;
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE.as_usize());
    let database = builder.create_with_backend(FileBackend::new(file)?)?;
    let into = database.begin_write()?;
    copy_table(from, &into, META)?;
    copy_facts(from, &into)?;
    copy_table(from, &into, JOURNAL)?;
    copy_table(from, &into, LEDGER)?;
    into.commit()?;
    database.close()?;
    File::open(to)?.sync_all()?;
    read::revision(from)
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    into: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), Error> {
    let mut copy = into.open_table(table)?;
    for row in from.open_table(table)?.iter()? {
        let (key, value) = row?;
        copy.insert(key.value(), value.value())?;
    }
    Ok(())
}

/// Copies the rows that count, and leaves those of the past.
fn copy_facts(from: &ReadTransaction, into: &WriteTransaction) -> Result<(), Error> {
    let log = FactLog::read(from)?;
    let mut copy = into.open_table(FACTS)?;
    for row in from.open_table(FACTS)?.iter()? {
        let (number, row) = row?;
        if log.is_newest(number.value(), row.value().0) {
            copy.insert(number.value(), row.value())?;
        }
    }
    Ok(())
}

/// Makes a verified copy of the backup in the present format.
fn prepare(from: &Path, beside: &Path) -> Result<Restored, StoreError> {
    fs::copy(from, beside).map_err(|error| StoreError::io(from, error))?;
    let io = |error| StoreError::io(beside, error);
    let engine = |error: Error| StoreError::of_engine(from, error);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(beside)
        .map_err(io)?;
    if file.metadata().map_err(io)?.len() == 0 {
        return Err(StoreError::damaged(from, "it is empty"));
    }
    let backend = FileBackend::new(file).map_err(|error| engine(error.into()))?;
    let database = open_database(backend, CACHE).map_err(engine)?.database;
    let format = format::bring_up(&database, from)?;
    let transaction = database
        .begin_read()
        .map_err(|error| engine(error.into()))?;
    let restored = count(&transaction, format).map_err(engine)?;
    drop(transaction);
    database.close().map_err(|error| engine(error.into()))?;
    File::open(beside)
        .and_then(|file| file.sync_all())
        .map_err(io)?;
    Ok(restored)
}

fn count(transaction: &ReadTransaction, format: FormatVersion) -> Result<Restored, Error> {
    Ok(Restored {
        facts: FactLog::read(transaction)?.len() as u64,
        records: transaction.open_table(LEDGER)?.len()?,
        revision: read::revision(transaction)?,
        format,
        set_aside: None,
    })
}

/// Gives the copy its name, while the lock of what had it is held.
fn put_in_place(beside: &Path, to: &Path) -> Result<Option<PathBuf>, StoreError> {
    let io = |error| StoreError::io(to, error);
    let present = match OpenOptions::new().read(true).write(true).open(to) {
        Ok(file) => Some(lock(file, to)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(io(error)),
    };
    let set_aside = match &present {
        Some(_) => Some(free_name(to)?),
        None => None,
    };
    if let Some(aside) = &set_aside {
        // A second name, so that at no time there is nothing by the first: a store would be
        // made there. Not every file system can do that.
        fs::hard_link(to, aside)
            .or_else(|_| fs::rename(to, aside))
            .map_err(io)?;
    }
    fs::rename(beside, to)
        .and_then(|()| sync_folder(to))
        .map_err(io)?;
    Ok(set_aside)
}

/// Takes the lock that a running store would hold.
fn lock(file: File, path: &Path) -> Result<FileBackend, StoreError> {
    let locks = FileBackend::new(file).map_err(|error| StoreError::of_engine(path, error))?;
    match locks.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
        Ok(true) => Ok(locks),
        Ok(false) => Err(StoreError::Locked {
            path: path.to_owned(),
        }),
        Err(error) => Err(StoreError::of_engine(path, error)),
    }
}

fn free_name(to: &Path) -> Result<PathBuf, StoreError> {
    (1..=SET_ASIDE_MAX)
        .map(|number| with_suffix(to, &format!(".replaced-{number}")))
        .find(|path| !path.exists())
        .ok_or_else(|| StoreError::Exists {
            path: with_suffix(to, &format!(".replaced-{SET_ASIDE_MAX}")),
        })
}
