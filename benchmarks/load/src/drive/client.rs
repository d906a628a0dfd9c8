//! One kept-alive connection with at most one request on it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::poll::Poll;
use crate::response::{self, Progress};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How a step of a connection ended.
pub(crate) enum Outcome {
    /// Nothing to book yet.
    Pending,
    /// A request is over.
    Ended {
        /// Its number in the settings.
        kind: usize,
        /// When it was due.
        due: Instant,
        /// How it went.
        result: Result<(), Failure>,
    },
}

/// Why a request failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// `503`, `reset`, `closed`, `refused`, `timeout`, `broken`.
    pub(crate) cause: String,
    /// The beginning of the answer, if there was one.
    pub(crate) answer: String,
}

struct Busy {
    kind: usize,
    due: Instant,
    sent: Instant,
}

/// One connection and what is going on there.
pub(crate) struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    busy: Option<Busy>,
    received: Vec<u8>,
}

impl Client {
    /// A client without a connection.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
            busy: None,
            received: Vec::new(),
        }
    }

    /// Has it no request?
    pub(crate) fn is_idle(&self) -> bool {
        self.busy.is_none()
    }

    /// Has it no connection?
    pub(crate) fn is_closed(&self) -> bool {
        self.stream.is_none()
    }

    /// Connects, again if need be.
    ///
    /// # Errors
    /// The server refuses, or does not answer in time.
    pub(crate) fn connect(&mut self, poll: &Poll, token: u64) -> Result<(), String> {
        self.stream = None;
        let describe = |error| format!("connect {}: {error}", self.address);
        let stream =
            TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT).map_err(describe)?;
        stream.set_nodelay(true).map_err(describe)?;
        stream.set_nonblocking(true).map_err(describe)?;
        poll.watch(&stream, token)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Sends a request that was due at `due`.
    pub(crate) fn send(&mut self, kind: usize, bytes: &[u8], due: Instant) -> Outcome {
        self.received.clear();
        self.busy = Some(Busy {
            kind,
            due,
            sent: Instant::now(),
        });
        let written = self.stream.as_mut().map(|stream| stream.write(bytes));
        match written {
            None => self.fail("refused"),
            Some(Ok(length)) if length == bytes.len() => Outcome::Pending,
            Some(_) => self.fail("reset"),
        }
    }

    /// Reads what has arrived, through a buffer that all clients share.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Outcome {
        let Some(stream) = self.stream.as_mut() else {
            return Outcome::Pending;
        };
        match stream.read(buffer) {
            Ok(0) => self.fail("closed"),
            Ok(length) => {
                self.received.extend_from_slice(&buffer[..length]);
                self.progress()
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Outcome::Pending,
            Err(_) => self.fail("reset"),
        }
    }

    /// Gives up on a request that has waited for longer than `timeout`.
    pub(crate) fn expire(&mut self, now: Instant, timeout: Duration) -> Outcome {
        let late = |busy: &Busy| now.saturating_duration_since(busy.sent) > timeout;
        if self.busy.as_ref().is_some_and(late) {
            self.fail("timeout")
        } else {
            Outcome::Pending
        }
    }

    fn progress(&mut self) -> Outcome {
        match response::read(&self.received) {
            Progress::Partial => Outcome::Pending,
            Progress::Broken => self.fail("broken"),
            Progress::Complete { status, closes } => {
                if closes {
                    self.stream = None;
                }
                if (200..300).contains(&status) {
                    self.end(Ok(()))
                } else {
                    let failure = self.failure(&status.to_string());
                    self.end(Err(failure))
                }
            }
        }
    }

    fn fail(&mut self, cause: &str) -> Outcome {
        self.stream = None;
        let failure = self.failure(cause);
        self.end(Err(failure))
    }

    fn failure(&self, cause: &str) -> Failure {
        let answer = String::from_utf8_lossy(&self.received)
            .chars()
            .take(400)
            .collect();
        Failure {
            cause: cause.to_owned(),
            answer,
        }
    }

    fn end(&mut self, result: Result<(), Failure>) -> Outcome {
        match self.busy.take() {
            Some(Busy { kind, due, .. }) => Outcome::Ended { kind, due, result },
            None => Outcome::Pending,
        }
    }
}
