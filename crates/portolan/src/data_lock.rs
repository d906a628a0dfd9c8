//! One process per data folder.
//!
//! The lock belongs to the open file, not to the process: a successor that is handed
//! the descriptor holds it from that moment, and it is never free in between.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    process,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// The file in the data folder that is locked.
const FILE: &str = "portolan.lock";

/// A data folder that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process uses it.
    #[error("data folder {} is in use by {}", folder.display(), Holder(*pid))]
    Held {
        /// The folder.
        folder: PathBuf,
        /// Who uses it, if it says so.
        pid: Option<u32>,
    },
    /// It can't be made or written to.
    #[error("can't use data folder {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

struct Holder(Option<u32>);

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

/// The right to use a data folder; let go when the last descriptor of it is closed.
#[derive(Debug)]
pub(crate) struct DataLock(File);

impl DataLock {
    /// Makes the folder if need be, for this user only, and locks it.
    ///
    /// # Errors
    /// [`LockError`] says who holds it, or why it can't be used.
    pub(crate) fn take(folder: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Folder {
            folder: folder.to_owned(),
            source,
        };
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(folder);
        made.map_err(failed)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        let mut file = file.open(folder.join(FILE)).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let mut lock = Self(file);
                lock.sign().map_err(failed)?;
                Ok(lock)
            }
            Err(Errno::WOULDBLOCK) => Err(LockError::Held {
                folder: folder.to_owned(),
                pid: holder(&mut file),
            }),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// A lock that a predecessor holds and has handed in.
    #[must_use]
    pub(crate) fn adopt(descriptor: OwnedFd) -> Self {
        Self(File::from(descriptor))
    }

    /// The descriptor that holds the lock, to be handed over.
    #[must_use]
    pub(crate) const fn as_file(&self) -> &File {
        &self.0
    }

    /// Writes down that this process holds it, for whoever wants it, too.
    ///
    /// # Errors
    /// The system's, if it can't be written to.
    pub(crate) fn sign(&mut self) -> io::Result<()> {
        self.0.rewind()?;
        self.0.set_len(0)?;
        write!(self.0, "{}", process::id())
    }
}

/// Reads who holds it.
fn holder(file: &mut File) -> Option<u32> {
    const PID_BYTES_MAX: u64 = 10;
    let mut text = String::new();
    file.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use portolan_testkit::Scratch;

    use super::*;

    #[test]
    fn a_folder_is_made_and_locked_for_one_holder() {
        let scratch = Scratch::new();
        let folder = scratch.path().join("deep/data");
        let lock = DataLock::take(&folder).unwrap();
        let error = DataLock::take(&folder).unwrap_err();
        let pid = process::id();
        assert_eq!(
            error.to_string(),
            format!(
                "data folder {} is in use by process {pid}",
                folder.display()
            )
        );
        drop(lock);
        assert!(DataLock::take(&folder).is_ok());
    }

    #[test]
    fn an_adopted_lock_is_held_when_the_predecessor_is_gone() {
        let scratch = Scratch::new();
        let lock = DataLock::take(scratch.path()).unwrap();
        let handed = lock.as_file().try_clone().unwrap();
        let adopted = DataLock::adopt(handed.into());
        drop(lock);
        assert!(DataLock::take(scratch.path()).is_err());
        drop(adopted);
        assert!(DataLock::take(scratch.path()).is_ok());
    }

    #[test]
    fn a_folder_that_can_not_be_is_an_error() {
        let scratch = Scratch::new();
        let file = scratch.write("file", "");
        assert!(matches!(
            DataLock::take(&file),
            Err(LockError::Folder { .. })
        ));
    }
}
