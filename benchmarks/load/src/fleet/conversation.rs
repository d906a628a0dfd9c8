//! One connection to a backend: requests in, the backend's one answer out.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use crate::response::{field, find};

const READ_BYTES: usize = 2 * 1024;
const REQUEST_BYTES_MAX: usize = 1024 * 1024;
const BODY: &[u8; 1024] = &[b'x'; 1024];

/// What the fleet has to do next for a connection.
pub(super) enum Turn {
    /// Nothing.
    Stay,
    /// Drop it.
    Close,
    /// Call `answer` later.
    AnswerAfter(Duration),
}

/// One connection.
pub(super) struct Conversation {
    stream: TcpStream,
    answer: Rc<[u8]>,
    received: Vec<u8>,
    /// A request was read and not yet answered.
    owes: bool,
    /// Closes after the answers that are owed.
    finishing: bool,
}

/// The answer of backend `id`, written out.
pub(super) fn written_answer(id: &str) -> Rc<[u8]> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Instance: {id}\r\nContent-Length: {}\r\n\r\n",
        BODY.len(),
    );
    [head.as_bytes(), BODY].concat().into()
}

impl Conversation {
    /// Takes over an accepted connection.
    ///
    /// # Errors
    /// The client is gone already.
    pub(super) fn new(stream: TcpStream, answer: Rc<[u8]>) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            answer,
            received: Vec::new(),
            owes: false,
            finishing: false,
        })
    }

    /// The socket.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads what has arrived, and answers it.
    pub(super) fn receive(&mut self) -> Turn {
        let mut buffer = [0; READ_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Turn::Close,
            Ok(length) => self.received.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Stay,
            Err(_) => return Turn::Close,
        }
        if self.received.len() > REQUEST_BYTES_MAX {
            return Turn::Close;
        }
        if self.owes {
            Turn::Stay
        } else {
            self.next_request()
        }
    }

    /// Sends the answer that is owed.
    pub(super) fn answer(&mut self) -> Turn {
        self.owes = false;
        // One answer fits into an empty socket buffer; a client that lets it
        // fill up is dropped.
        match self.stream.write(&self.answer) {
            Ok(length) if length == self.answer.len() => self.next_request(),
            _ => Turn::Close,
        }
    }

    /// Closes, after the answer that is owed.
    pub(super) fn finish(&mut self) -> Turn {
        self.finishing = true;
        if self.owes || !self.received.is_empty() {
            Turn::Stay
        } else {
            Turn::Close
        }
    }

    fn next_request(&mut self) -> Turn {
        let Some((length, delay)) = self.complete_request() else {
            let done = self.finishing && self.received.is_empty();
            return if done { Turn::Close } else { Turn::Stay };
        };
        self.received.drain(..length);
        self.owes = true;
        match delay {
            Some(delay) => Turn::AnswerAfter(delay),
            None => self.answer(),
        }
    }

    /// Length and delay of the first request, once all of it is here.
    fn complete_request(&self) -> Option<(usize, Option<Duration>)> {
        let head_length = find(&self.received, b"\r\n\r\n")? + 4;
        let head = &self.received[..head_length];
        let length = match field(head, "content-length") {
            Some(length) => head_length + length.parse::<usize>().ok()?,
            None if field(head, "transfer-encoding").is_some() => {
                head_length + find(&self.received[head_length..], b"0\r\n\r\n")? + 5
            }
            None => head_length,
        };
        (self.received.len() >= length).then(|| (length, delay(head)))
    }
}

fn delay(head: &[u8]) -> Option<Duration> {
    let target = std::str::from_utf8(head).ok()?.split(' ').nth(1)?;
    let (_, digits) = target.split_once("delay=")?;
    digits
        .split('&')
        .next()?
        .parse()
        .ok()
        .map(Duration::from_millis)
}
