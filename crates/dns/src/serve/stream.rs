//! Queries by connections: many at a time, answered as they are ready (RFC 7766).

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

use crate::{
    Peer,
    engine::{Engine, Reply},
};

/// How long a connection may be without a whole query (RFC 7766, section 6.2.3).
const IDLE: Duration = Duration::from_secs(10);
/// How long answers may wait for a client that does not read.
const WRITE: Duration = Duration::from_secs(10);
/// Queries of one connection that others may be asked at a time; beyond, nothing is read.
const LATER_MAX: usize = 64;
/// Bytes that are read at a time.
const READ: usize = 4096;
/// Length of a length.
const LENGTH: usize = 2;

/// Answers until the client ends, or is silent for too long.
///
/// # Errors
/// The connection's, or [`io::ErrorKind::TimedOut`] for one that does not read.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    engine: Arc<Engine>,
    mut stream: S,
    peer: Peer,
    local: IpAddr,
) -> io::Result<()> {
    let (sender, mut answers) = mpsc::channel::<Option<Bytes>>(LATER_MAX);
    let mut line = Line {
        engine,
        peer,
        local,
        sender,
        under_way: 0,
        out: Vec::new(),
    };
    let mut read = Vec::with_capacity(READ);
    let mut is_open = true;
    let mut deadline = line.deadline();
    while is_open || line.under_way > 0 {
        let env = line.engine.env.clone();
        tokio::select! {
            got = stream.read_buf(&mut read), if is_open && line.under_way < LATER_MAX => {
                is_open = got? > 0;
                if line.take(&mut read) {
                    deadline = line.deadline();
                }
            }
            Some(answer) = answers.recv(), if line.under_way > 0 => {
                line.under_way = line.under_way.saturating_sub(1);
                if let Some(answer) = answer {
                    line.put(&answer);
                }
                // What had to wait for it may be there already.
                line.take(&mut read);
                deadline = line.deadline();
            }
            () = env.sleep_until(deadline) => return Ok(()),
        }
        if !line.out.is_empty() {
            let written = env.timeout(WRITE, stream.write_all(&line.out)).await;
            written.map_err(|_| io::ErrorKind::TimedOut)??;
            line.out.clear();
        }
    }
    Ok(())
}

/// What is known of a connection besides its stream.
struct Line {
    engine: Arc<Engine>,
    peer: Peer,
    local: IpAddr,
    sender: mpsc::Sender<Option<Bytes>>,
    /// Queries that others are being asked.
    under_way: usize,
    /// Answers that are to be written.
    out: Vec<u8>,
}

impl Line {
    fn deadline(&self) -> std::time::Instant {
        let now = self.engine.env.instant();
        now.checked_add(IDLE).unwrap_or(now)
    }

    /// Takes the whole messages that were read, and says whether there were any.
    fn take(&mut self, read: &mut Vec<u8>) -> bool {
        let mut taken = 0_usize;
        while self.under_way < LATER_MAX {
            let rest = read.get(taken..).unwrap_or_default();
            let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else {
                break;
            };
            let length = usize::from(u16::from_be_bytes(*length));
            let Some(message) = rest.get(..length) else {
                break;
            };
            self.answer(message);
            taken = taken.saturating_add(LENGTH).saturating_add(length);
        }
        read.drain(..taken.min(read.len()));
        taken > 0
    }

    fn answer(&mut self, message: &[u8]) {
        let (out, engine) = (&mut self.out, &self.engine);
        let reply = engine.answer_now(message, self.peer, self.local, |answer| put(out, answer));
        let Reply::Later(task) = reply else {
            return;
        };
        self.under_way = self.under_way.saturating_add(1);
        let (engine, sender) = (Arc::clone(&self.engine), self.sender.clone());
        let (message, peer, local) = (Bytes::copy_from_slice(message), self.peer, self.local);
        let env = engine.env.clone();
        let answering = async move {
            let answer = engine.later(task, message, peer, local).await;
            // The connection may have ended.
            let _ended = sender.send(answer).await;
        };
        env.spawn("dns later", answering).detach();
    }

    fn put(&mut self, answer: &[u8]) {
        put(&mut self.out, answer);
    }
}

fn put(out: &mut Vec<u8>, answer: &[u8]) {
    let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend(answer.iter().take(usize::from(length)));
}
