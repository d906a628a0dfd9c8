//! The incumbent's side.

use std::{
    fs::{self, Permissions},
    io,
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use portolan_runtime::{Env, sockets::Sockets};
use tokio::net::UnixListener;

use super::{
    HandoverError, PROTOCOL, SOCKET, Within,
    line::{Line, Message, unexpected},
};
use crate::data_lock::DataLock;

/// How long a successor may take to read its configuration and to take in the state.
const SUCCESSOR_TIMEOUT: Duration = Duration::from_mins(1);

/// Where a successor knocks.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    env: Env,
}

/// A successor that has knocked.
#[derive(Debug)]
pub(crate) struct Visit {
    line: Line,
    version: String,
}

impl Door {
    /// Opens the door of a data folder, in place of a predecessor's. A successor does
    /// so when it has said that it is ready, and not before: should it end, the
    /// incumbent's door has to be there.
    ///
    /// # Errors
    /// [`HandoverError::Socket`].
    pub(crate) fn open(folder: &Path, env: &Env) -> Result<Self, HandoverError> {
        let bound = Within::open(folder).and_then(|within| bind(&within.path(SOCKET)));
        let listener = bound.map_err(|source| HandoverError::Socket {
            path: folder.join(SOCKET),
            source,
        })?;
        Ok(Self {
            listener,
            env: env.clone(),
        })
    }

    /// Waits for a successor. Cancel-safe until one has knocked.
    ///
    /// # Errors
    /// [`HandoverError`] of a visitor who is not let in; the door stays open.
    pub(crate) async fn visit(&self) -> Result<Visit, HandoverError> {
        let (stream, _) = self.listener.accept().await?;
        let mut line = Line::new(stream, self.env.clone())?;
        let answer = line.hear().await?;
        let Message::Hello { protocol, version } = &answer else {
            return Err(unexpected(format!("{answer:?}")));
        };
        if *protocol != PROTOCOL {
            return Err(HandoverError::Version { theirs: *protocol });
        }
        let version = version.clone();
        Ok(Visit { line, version })
    }
}

impl Visit {
    /// The successor's version, for the log.
    #[must_use]
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Gives the successor a descriptor of every socket and of the lock, and waits
    /// until it could accept.
    ///
    /// # Errors
    /// [`HandoverError`]: the incumbent goes on as before.
    pub(crate) async fn offer(
        &mut self,
        sockets: &Sockets,
        lock: &DataLock,
    ) -> Result<(), HandoverError> {
        let (listeners, mut descriptors): (_, Vec<_>) = sockets.descriptors().unzip();
        descriptors.push(lock.as_file().as_fd());
        let offer = Message::Offer {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listeners,
        };
        self.line.say(&offer).await?;
        self.line.send_descriptors(&descriptors).await?;
        self.line
            .expect(&Message::Prepared, SUCCESSOR_TIMEOUT)
            .await
    }

    /// Gives the successor what the incumbent has in memory and waits until it
    /// accepts. The incumbent is then to drain and to exit; whatever reaches it later
    /// is lost with it, so it should have stopped accepting already.
    ///
    /// # Errors
    /// [`HandoverError`]: the incumbent goes on, and accepts again.
    pub(crate) async fn hand_over(mut self, state: &[u8]) -> Result<(), HandoverError> {
        self.line.send_state(state, SUCCESSOR_TIMEOUT).await?;
        self.line.expect(&Message::Ready, SUCCESSOR_TIMEOUT).await
    }
}

/// Binds beside the path and moves the socket there, so that there is a door at every moment.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let beside = PathBuf::from(format!("{}.{}", path.display(), process::id()));
    remove_socket(&beside)?;
    let listener = UnixListener::bind(&beside)?;
    fs::set_permissions(&beside, Permissions::from_mode(0o600))?;
    fs::rename(&beside, path)?;
    Ok(listener)
}

/// Removes what an earlier process of the same id has left, but nothing else.
fn remove_socket(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket {
        fs::remove_file(path)
    } else {
        Ok(())
    }
}
