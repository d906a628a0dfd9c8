//! What can go wrong, told so that an operator knows the file and the remedy.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Condition, FormatVersion};

/// A store that can't do what was asked. Cloned, because a whole group of commits fails at once.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The file can't be read as what it should be. Nothing in it was changed.
    #[error(
        "{} is damaged ({detail}); restore a backup with `portolan restore`, or move {} away to start empty",
        path.display(), path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// No room on the disk or in the quota. Later commits are tried again.
    #[error("no room for {}; free space on that disk, commits go on by themselves", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Another process has the file open.
    #[error("{} is in use by another process; stop that one first", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// A newer program wrote the file. Nothing in it was changed.
    #[error(
        "{} has format {found} and this program knows {known}; run the newer program, or restore a backup of this one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: FormatVersion,
        /// The newest format that this program knows.
        known: FormatVersion,
    },
    /// The operating system refused.
    #[error("can't use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// So much waits for the disk already that this was not taken. Nothing of it is written.
    #[error("the disk does not keep up: {waiting} writes wait for it; try again")]
    Busy {
        /// How many writes wait.
        waiting: usize,
    },
    /// A part of the request is over its limit. Nothing of it is written.
    #[error("{what} of {size} is over the limit of {limit}")]
    TooLarge {
        /// What is measured.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A backup would overwrite something that is no backup.
    #[error("{} is there already and is no backup; name another file", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        let is_full = matches!(
            source.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded
        );
        if is_full {
            return Self::Full { path };
        }
        Self::Io {
            path,
            source: Arc::new(source),
        }
    }

    pub(crate) fn damaged(path: &Path, detail: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            detail: detail.into(),
        }
    }

    /// What an error of the engine's library means for the file at `path`.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library has many errors that only a damaged file can raise"
    )]
    pub(crate) fn of_engine(path: &Path, error: impl Into<redb::Error>) -> Self {
        let locked = || Self::Locked {
            path: path.to_owned(),
        };
        match error.into() {
            redb::Error::Io(source) => {
                // A file that is cut short, or no database at all.
                let is_cut = source.kind() == ErrorKind::UnexpectedEof;
                if is_cut || source.kind() == ErrorKind::InvalidData {
                    return Self::damaged(path, source.to_string());
                }
                Self::io(path, source)
            }
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => locked(),
            redb::Error::DatabaseClosed => Self::Closed,
            redb::Error::PreviousIo => Self::io(path, io::Error::other("an earlier call failed")),
            // What is left are tables and trees that are not what we wrote.
            other => Self::damaged(path, other.to_string()),
        }
    }

    pub(crate) const fn condition(&self) -> Condition {
        match self {
            Self::Full { .. } => Condition::Full,
            Self::Damaged { .. }
            | Self::Locked { .. }
            | Self::Newer { .. }
            | Self::Io { .. }
            | Self::Busy { .. }
            | Self::TooLarge { .. }
            | Self::Exists { .. }
            | Self::Closed => Condition::Failed,
        }
    }
}

/// Refuses a size that is over its limit.
pub(crate) fn check_size(what: &'static str, size: usize, limit: usize) -> Result<(), StoreError> {
    if size > limit {
        return Err(StoreError::TooLarge { what, size, limit });
    }
    Ok(())
}
