//! Queries by connections: many at a time, answered as they are ready (RFC 7766).

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use portolan_runtime::drain::DrainWatch;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

use super::room::{End, Stay};
use crate::{
    Peer,
    engine::{Engine, Reply},
};

/// How long a connection may be without a whole query (RFC 7766, section 6.2.3).
const IDLE: Duration = Duration::from_secs(10);
/// How long a stop waits for the first query of a connection: it may have come just now.
const FIRST: Duration = Duration::from_millis(250);
/// How long the end of a connection may take to be said.
const LAST: Duration = Duration::from_millis(100);
/// How long answers may wait for a client that does not read.
const WRITE: Duration = Duration::from_secs(10);
/// Queries of one connection that others may be asked at a time; beyond, nothing is read.
const LATER_MAX: usize = 64;
/// Bytes that are read at a time, and what a silent connection may keep of each buffer.
const READ: usize = 4096;
/// Bytes of answers after which they are written, before more queries are taken.
const OUT_BYTES: usize = 1 << 16;
/// Queries that are answered before the thread is let go: others wait for it.
const TURN: usize = 64;
/// Length of a length.
const LENGTH: usize = 2;

/// Answers until the client ends, or is silent for too long, or may not stay.
///
/// # Errors
/// The connection's, or [`io::ErrorKind::TimedOut`] for one that does not read.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    engine: Arc<Engine>,
    mut stream: S,
    (peer, local): (Peer, IpAddr),
    mut stay: Stay,
) -> io::Result<()> {
    let (sender, mut answers) = mpsc::channel::<Option<Bytes>>(LATER_MAX);
    let mut line = Line {
        engine,
        peer,
        local,
        drain: stay.drain.clone(),
        sender,
        under_way: 0,
        has_asked: false,
        out: Vec::new(),
    };
    let mut read = Vec::with_capacity(READ);
    let (mut is_open, mut is_parting) = (true, false);
    let mut deadline = line.deadline(IDLE);
    while is_open || line.under_way > 0 {
        let env = line.engine.env.clone();
        tokio::select! {
            got = stream.read_buf(&mut read), if is_open && line.under_way < LATER_MAX => {
                is_open = got? > 0;
            }
            Some(answer) = answers.recv(), if line.under_way > 0 => {
                line.under_way = line.under_way.saturating_sub(1);
                if let Some(answer) = answer {
                    line.put(&answer);
                }
                deadline = line.deadline(IDLE);
            }
            end = stay.ended(), if is_open && !is_parting => match end {
                End::Stop => {
                    is_parting = true;
                    deadline = line.deadline(FIRST);
                }
                // There are as many as there may be without it.
                End::SentAway => is_open = false,
            },
            // Whoever waits for answers is not silent.
            () = env.sleep_until(deadline), if line.under_way == 0 => break,
        }
        // What had to wait for an answer may be there already.
        while line.take(&mut read) {
            deadline = line.deadline(IDLE);
            line.has_asked = true;
            stay.seat.tell(true, env.instant());
            line.write(&mut stream).await?;
            tokio::task::yield_now().await;
        }
        line.write(&mut stream).await?;
        stay.seat.tell(line.under_way > 0, env.instant());
        if read.is_empty() {
            read.shrink_to(READ);
        }
        line.out.shrink_to(READ);
        // What was read is answered.
        is_open &= !(is_parting && line.has_asked);
    }
    let env = &line.engine.env;
    // Who is there no longer need not hear it.
    let _said = env.timeout(LAST, stream.shutdown()).await;
    Ok(())
}

/// What is known of a connection besides its stream.
struct Line {
    engine: Arc<Engine>,
    peer: Peer,
    local: IpAddr,
    drain: DrainWatch,
    sender: mpsc::Sender<Option<Bytes>>,
    /// Queries that others are being asked.
    under_way: usize,
    has_asked: bool,
    /// Answers that are to be written.
    out: Vec<u8>,
}

impl Line {
    fn deadline(&self, wait: Duration) -> std::time::Instant {
        let now = self.engine.env.instant();
        now.checked_add(wait).unwrap_or(now)
    }

    /// Writes the answers that there are.
    async fn write<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let env = &self.engine.env;
        let written = env.timeout(WRITE, stream.write_all(&self.out)).await;
        written.map_err(|_| io::ErrorKind::TimedOut)??;
        self.out.clear();
        Ok(())
    }

    /// Takes whole messages that were read, as many as one turn has, and says whether there
    /// were any.
    fn take(&mut self, read: &mut Vec<u8>) -> bool {
        let (mut taken, mut count) = (0_usize, 0_usize);
        while self.under_way < LATER_MAX && count < TURN && self.out.len() < OUT_BYTES {
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
            count = count.saturating_add(1);
        }
        read.drain(..taken.min(read.len()));
        count > 0
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
        // Though the connection may end before.
        let hold = self.drain.hold();
        let answering = async move {
            let answer = engine.later(task, message, peer, local).await;
            // The connection may have ended.
            let _ended = sender.send(answer).await;
            drop(hold);
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
