//! Hitless upgrade: a running process hands its listening sockets to a successor.
//!
//! A connection waits in the queue of a listening socket until somebody accepts it,
//! and the queue lives as long as any descriptor of the socket does. So the running
//! process, the incumbent, passes its descriptors over a Unix socket in the data
//! folder; both accept for a moment; then the incumbent stops accepting, finishes
//! what it has and exits. No queue is ever closed, and the lock of the data folder
//! is never free.
//!
//! ```text
//! successor                          incumbent
//!   Hello {version}            ─────>
//!                              <─────  Offer {listeners}, then descriptors in batches
//!   (reads its configuration, gets ready to accept)
//!   Prepared                   ─────>
//!                              <─────  State {bytes}, then the bytes
//!   (takes in the state, accepts)
//!   Ready                      ─────>  (drains and exits)
//! ```
//!
//! The incumbent goes on as if nothing had been, should the successor end or take
//! too long before it is ready. Only the same user, or root, is let in.

mod descriptors;
mod door;
mod line;
mod succession;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

pub(crate) use door::{Door, Visit};
pub(crate) use succession::{Inheritance, Succession, take_over};

/// The Unix socket in the data folder.
const SOCKET: &str = "handover.sock";

/// Longest path of a data folder whose socket has an address of its own: an address has 107
/// bytes at most, and the socket is bound under a name with the process's id first.
const FOLDER_BYTES_MAX: usize = 107 - "/handover.sock.4194304".len();

/// Version of the conversation; both sides must speak the same.
const PROTOCOL: u32 = 1;

/// A hand-over that did not come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandoverError {
    /// The socket in the data folder can't be made or reached.
    #[error("can't use {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The other process belongs to somebody else.
    #[error("the other process belongs to user {user}, not to us")]
    Stranger {
        /// Its user id.
        user: u32,
    },
    /// The other process speaks another version of this conversation.
    #[error("the other process speaks version {theirs} of the hand-over, not {PROTOCOL}")]
    Version {
        /// Its version.
        theirs: u32,
    },
    /// The other process ended, or took too long.
    #[error("the other process {what}")]
    Gone {
        /// What it did.
        what: &'static str,
    },
    /// The other process said something that makes no sense here.
    #[error("the other process said something unexpected: {what}")]
    Unexpected {
        /// What, in words.
        what: String,
    },
    /// The conversation broke.
    #[error("the conversation broke")]
    Broken(#[source] io::Error),
    /// What was handed over can't be used.
    #[error("what was handed over can't be used")]
    Unusable(#[source] io::Error),
}

/// A data folder, as sockets within it are addressed.
#[derive(Debug)]
enum Within {
    Folder(PathBuf),
    /// Its path is too long, but there is a short one to every open file.
    Deep(File),
}

impl Within {
    fn open(folder: &Path) -> io::Result<Self> {
        if folder.as_os_str().len() <= FOLDER_BYTES_MAX {
            return Ok(Self::Folder(folder.to_owned()));
        }
        File::open(folder).map(Self::Deep)
    }

    /// The path of a name within it, while this lives.
    fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::Deep(file) => format!("/proc/self/fd/{}/{name}", file.as_raw_fd()).into(),
        }
    }
}
