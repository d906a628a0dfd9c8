//! The conversation between incumbent and successor: short JSON messages with
//! descriptors between them, each within a time limit.

use std::{
    net::SocketAddr,
    os::fd::{BorrowedFd, OwnedFd},
    time::Duration,
};

use portolan_runtime::Env;
use rustix::net::sockopt::socket_peercred;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::{HandoverError, descriptors};

/// How long the other side may take for what it can do at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest message: an address of a listener is at most 60 bytes.
const MESSAGE_BYTES_MAX: u32 = 4 << 20;
/// Largest state: a million instances at a kilobyte each.
const STATE_BYTES_MAX: u64 = 1 << 30;
/// The user that may everything anyway.
const ROOT: u32 = 0;

/// What the two sides say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub(super) enum Message {
    /// The successor is there.
    Hello {
        /// Version of the conversation.
        protocol: u32,
        /// Version of the program, for the log.
        version: String,
    },
    /// The incumbent gives these; their descriptors follow in this order, then the lock.
    Offer {
        /// Version of the conversation.
        protocol: u32,
        /// Version of the program, for the log.
        version: String,
        /// Where each socket listens.
        listeners: Vec<SocketAddr>,
    },
    /// The successor could accept now.
    Prepared,
    /// The incumbent's state follows, in so many bytes.
    State {
        /// Length of the state, in bytes.
        bytes: u64,
    },
    /// The successor accepts.
    Ready,
}

/// One side's end of the conversation.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    env: Env,
}

impl Line {
    /// Begins a conversation with the same user, or with root.
    pub(super) fn new(stream: UnixStream, env: Env) -> Result<Self, HandoverError> {
        let peer = socket_peercred(&stream).map_err(|error| HandoverError::Broken(error.into()))?;
        let (user, ours) = (peer.uid.as_raw(), rustix::process::geteuid().as_raw());
        if !is_trusted(user, ours) {
            return Err(HandoverError::Stranger { user });
        }
        Ok(Self { stream, env })
    }

    pub(super) async fn say(&mut self, message: &Message) -> Result<(), HandoverError> {
        let mut text = vec![0; size_of::<u32>()];
        serde_json::to_writer(&mut text, message).map_err(|error| unexpected(error.to_string()))?;
        let bytes = u32::try_from(text.len() - size_of::<u32>())
            .map_err(|error| unexpected(error.to_string()))?;
        text[..size_of::<u32>()].copy_from_slice(&bytes.to_be_bytes());
        self.within(ANSWER_TIMEOUT, async |stream| {
            Ok(stream.write_all(&text).await?)
        })
        .await
    }

    /// Hears what can be said at once.
    pub(super) async fn hear(&mut self) -> Result<Message, HandoverError> {
        self.hear_within(ANSWER_TIMEOUT).await
    }

    /// Hears what takes the other side a while.
    pub(super) async fn hear_within(&mut self, limit: Duration) -> Result<Message, HandoverError> {
        self.within(limit, async |stream| {
            let bytes = stream.read_u32().await?;
            if bytes > MESSAGE_BYTES_MAX {
                return Err(unexpected(format!("a message of {bytes} bytes")));
            }
            let mut text =
                vec![0; usize::try_from(bytes).map_err(|error| unexpected(error.to_string()))?];
            stream.read_exact(&mut text).await?;
            serde_json::from_slice(&text).map_err(|error| unexpected(error.to_string()))
        })
        .await
    }

    /// Waits for this message and no other.
    pub(super) async fn expect(
        &mut self,
        message: &Message,
        limit: Duration,
    ) -> Result<(), HandoverError> {
        let answer = self.hear_within(limit).await?;
        if answer == *message {
            Ok(())
        } else {
            Err(unexpected(format!("{answer:?}")))
        }
    }

    pub(super) async fn send_state(
        &mut self,
        state: &[u8],
        limit: Duration,
    ) -> Result<(), HandoverError> {
        let bytes = state.len() as u64;
        self.say(&Message::State { bytes }).await?;
        self.within(limit, async |stream| Ok(stream.write_all(state).await?))
            .await
    }

    pub(super) async fn receive_state(
        &mut self,
        limit: Duration,
    ) -> Result<Vec<u8>, HandoverError> {
        let answer = self.hear_within(limit).await?;
        let bytes = match answer {
            Message::State { bytes } => bytes,
            Message::Hello { .. } | Message::Offer { .. } | Message::Prepared | Message::Ready => {
                return Err(unexpected(format!("{answer:?}")));
            }
        };
        if bytes > STATE_BYTES_MAX {
            return Err(unexpected(format!("a state of {bytes} bytes")));
        }
        self.within(limit, async |stream| {
            // Grows as bytes come, so that a false length costs nothing.
            let mut state = Vec::new();
            stream.take(bytes).read_to_end(&mut state).await?;
            if state.len() as u64 == bytes {
                Ok(state)
            } else {
                Err(HandoverError::Gone { what: "ended" })
            }
        })
        .await
    }

    pub(super) async fn send_descriptors(
        &mut self,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), HandoverError> {
        self.within(ANSWER_TIMEOUT, async |stream| {
            Ok(descriptors::send(stream, descriptors).await?)
        })
        .await
    }

    pub(super) async fn receive_descriptors(
        &mut self,
        count: usize,
    ) -> Result<Vec<OwnedFd>, HandoverError> {
        self.within(ANSWER_TIMEOUT, async |stream| {
            Ok(descriptors::receive(stream, count).await?)
        })
        .await
    }

    async fn within<T>(
        &mut self,
        limit: Duration,
        act: impl AsyncFnOnce(&mut UnixStream) -> Result<T, HandoverError>,
    ) -> Result<T, HandoverError> {
        let outcome = self.env.timeout(limit, act(&mut self.stream)).await;
        outcome.unwrap_or(Err(HandoverError::Gone {
            what: "took too long",
        }))
    }
}

/// Whether `user` may take part in a hand-over of a process of `ours`.
pub(super) const fn is_trusted(user: u32, ours: u32) -> bool {
    user == ours || user == ROOT
}

/// An end of the stream is the other process's end.
impl From<std::io::Error> for HandoverError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        if [UnexpectedEof, BrokenPipe, ConnectionReset].contains(&error.kind()) {
            return Self::Gone { what: "ended" };
        }
        Self::Broken(error)
    }
}

pub(super) fn unexpected(what: impl Into<String>) -> HandoverError {
    HandoverError::Unexpected { what: what.into() }
}
