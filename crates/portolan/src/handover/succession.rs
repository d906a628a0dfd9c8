//! The successor's side.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use portolan_runtime::Env;
use rustix::net::{
    SocketType,
    sockopt::{socket_acceptconn, socket_type},
};
use tokio::net::UnixStream;

use super::{
    HandoverError, PROTOCOL, SOCKET, Within,
    line::{Line, Message, unexpected},
};
use crate::data_lock::DataLock;

/// How long the incumbent may take to stop accepting and to write down its state.
const STATE_TIMEOUT: Duration = Duration::from_mins(1);
/// Most listening sockets that are taken: workers times listeners.
const LISTENERS_MAX: usize = 1 << 14;

/// What the incumbent gives away first.
#[derive(Debug)]
pub(crate) struct Inheritance {
    /// Its listening sockets.
    pub(crate) listeners: Vec<TcpListener>,
    /// The lock of the data folder.
    pub(crate) lock: DataLock,
    /// The incumbent's version, for the log.
    pub(crate) version: String,
    /// The rest of the conversation.
    pub(crate) succession: Succession,
}

/// A hand-over under way; dropping it calls it off, and the incumbent goes on.
#[derive(Debug)]
pub(crate) struct Succession {
    line: Line,
}

/// Asks the process that uses a data folder to hand over; `None` if there is none.
///
/// # Errors
/// [`HandoverError`]: the incumbent goes on as before.
pub(crate) async fn take_over(
    folder: &Path,
    env: &Env,
) -> Result<Option<Inheritance>, HandoverError> {
    let connected = match Within::open(folder) {
        Ok(within) => UnixStream::connect(within.path(SOCKET)).await,
        Err(error) => Err(error),
    };
    let stream = match connected {
        Ok(stream) => stream,
        Err(error) if is_nobody(&error) => return Ok(None),
        Err(source) => {
            let path = folder.join(SOCKET);
            return Err(HandoverError::Socket { path, source });
        }
    };
    let mut line = Line::new(stream, env.clone())?;
    line.say(&Message::Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
    .await?;
    let (addresses, version) = hear_offer(&mut line).await?;
    if addresses.len() > LISTENERS_MAX {
        return Err(unexpected(format!("{} listeners", addresses.len())));
    }
    let mut descriptors = line.receive_descriptors(addresses.len() + 1).await?;
    let lock = descriptors.pop().ok_or_else(|| unexpected("no lock"))?;
    let listeners: Vec<_> = descriptors.into_iter().map(TcpListener::from).collect();
    for (listener, address) in listeners.iter().zip(addresses) {
        // Datagrams come without being listened for.
        let listens = socket_type(listener).and_then(|kind| match kind {
            SocketType::DGRAM => Ok(true),
            _ => socket_acceptconn(listener),
        });
        let listens = listens.map_err(io::Error::from);
        let bound = listener.local_addr();
        let bound = bound.map_err(HandoverError::Unusable)?;
        if !listens.map_err(HandoverError::Unusable)? || bound != address {
            return Err(unexpected(format!("a socket at {bound}, not {address}")));
        }
    }
    Ok(Some(Inheritance {
        listeners,
        lock: DataLock::adopt(lock),
        version,
        succession: Succession { line },
    }))
}

async fn hear_offer(line: &mut Line) -> Result<(Vec<SocketAddr>, String), HandoverError> {
    match line.hear().await? {
        Message::Offer {
            protocol: PROTOCOL,
            version,
            listeners,
        } => Ok((listeners, version)),
        Message::Offer { protocol, .. } => Err(HandoverError::Version { theirs: protocol }),
        other @ (Message::Hello { .. }
        | Message::Prepared
        | Message::State { .. }
        | Message::Ready) => Err(unexpected(format!("{other:?}"))),
    }
}

fn is_nobody(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::NotFound || kind == io::ErrorKind::ConnectionRefused
}

impl Succession {
    /// Says that everything is prepared to accept, and gets what the incumbent had in
    /// memory. From now on the incumbent does not accept.
    ///
    /// # Errors
    /// [`HandoverError`]: the incumbent goes on as before.
    pub(crate) async fn state(&mut self) -> Result<Vec<u8>, HandoverError> {
        self.line.say(&Message::Prepared).await?;
        self.line.receive_state(STATE_TIMEOUT).await
    }

    /// Says that this process accepts; the incumbent drains and exits. The lock is ours.
    ///
    /// # Errors
    /// [`HandoverError`] if the incumbent has gone, which does no harm any more.
    pub(crate) async fn ready(mut self, lock: &mut DataLock) -> Result<(), HandoverError> {
        self.line.say(&Message::Ready).await?;
        lock.sign().map_err(HandoverError::Unusable)
    }
}
