//! The version of the file's format, and the way from older ones.

use std::{fmt, path::Path};

use portolan_model::Revision;
use redb::{Database, Error, ReadableTable, WriteTransaction};

use super::tables::{FORMAT, META, REVISION, Tables};
use crate::StoreError;

/// The version of a file's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FormatVersion(u64);

/// The format that this program reads and writes.
pub const FORMAT_KNOWN: FormatVersion = FormatVersion(1);

/// Ways from one version to the next, oldest first. The first format has none.
const STEPS: &[Step] = &[];

/// Brings a file from one version to the next.
pub(super) struct Step {
    pub(super) from: FormatVersion,
    pub(super) run: fn(&WriteTransaction) -> Result<(), Error>,
}

impl FormatVersion {
    #[cfg(test)]
    pub(super) const fn from_u64(raw: u64) -> Self {
        Self(raw)
    }

    const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Makes the tables of the present format in an empty database.
pub(super) fn write_first(database: &Database) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    let mut tables = Tables::open(&transaction)?;
    tables.meta.insert(FORMAT, FORMAT_KNOWN.0)?;
    tables.meta.insert(REVISION, Revision::FIRST.as_u64())?;
    drop(tables);
    Ok(transaction.commit()?)
}

/// Brings an older database up, in one transaction. Answers which version was found.
pub(super) fn bring_up(database: &Database, path: &Path) -> Result<FormatVersion, StoreError> {
    bring_up_by(STEPS, FORMAT_KNOWN, database, path)
}

pub(super) fn bring_up_by(
    steps: &[Step],
    known: FormatVersion,
    database: &Database,
    path: &Path,
) -> Result<FormatVersion, StoreError> {
    let engine = |error: Error| StoreError::of_engine(path, error);
    let transaction = database
        .begin_write()
        .map_err(|error| StoreError::of_engine(path, error))?;
    let found = match version(&transaction) {
        Ok(Some(version)) => version,
        Ok(None) => return Err(StoreError::damaged(path, "it holds other tables than ours")),
        Err(error) => return Err(engine(error)),
    };
    if found > known {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    if found < known {
        run(steps, found, known, &transaction, path)?;
        write_version(&transaction, known).map_err(engine)?;
        transaction
            .commit()
            .map_err(|error| StoreError::of_engine(path, error))?;
    }
    // A transaction that was not committed leaves nothing.
    Ok(found)
}

fn version(transaction: &WriteTransaction) -> Result<Option<FormatVersion>, Error> {
    let table = transaction.open_table(META)?;
    let found = table.get(FORMAT)?.map(|raw| FormatVersion(raw.value()));
    Ok(found)
}

fn write_version(transaction: &WriteTransaction, version: FormatVersion) -> Result<(), Error> {
    transaction.open_table(META)?.insert(FORMAT, version.0)?;
    // Tables that a step did not make are there from now on.
    drop(Tables::open(transaction)?);
    Ok(())
}

fn run(
    steps: &[Step],
    found: FormatVersion,
    known: FormatVersion,
    transaction: &WriteTransaction,
    path: &Path,
) -> Result<(), StoreError> {
    let mut at = found;
    while at < known {
        let Some(step) = steps.iter().find(|step| step.from == at) else {
            let detail = format!("no way leads from its format {at} to {known}");
            return Err(StoreError::damaged(path, detail));
        };
        (step.run)(transaction).map_err(|error| StoreError::of_engine(path, error))?;
        at = at.next();
    }
    Ok(())
}
