//! One connection to one server: requests in order, answers in order, events in between.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use portolan_runtime::Env;
use portolan_wire::{
    call::{CallError, Socket, Url, dial},
    tls::Connector,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::jute::{self, Ask, Event, Malformed, Refusal};

/// The largest message that is read: a node holds a mebibyte, a list of children may be more.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Requests that are under way at a time.
const PIPELINE: usize = 128;
/// Events that wait while answers are read.
const EVENTS_MAX: usize = 100_000;

/// A session at work. When it ends, all of its watches do.
pub(super) struct Session {
    socket: Box<dyn Socket>,
    read: BytesMut,
    events: VecDeque<Event>,
    number: i32,
    /// A third of the time that a session lasts without a sign of life.
    third: Duration,
    /// When the server last heard of us.
    sent: Instant,
    env: Env,
}

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] CallError),
    /// The server closed it: it is going down, or has no quorum.
    #[error("it closed the connection (has the ensemble a leader?)")]
    Closed,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The server does not speak ZooKeeper's protocol.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A message is larger than what is read.
    #[error("a message of {size} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    TooLarge {
        /// What it announces.
        size: usize,
    },
    /// The server is silent.
    #[error("it gives no sign of life")]
    Silent,
    /// More changed at once than can be kept in mind.
    #[error("more than {EVENTS_MAX} events wait")]
    Flooded,
}

/// An answer, or why there is none.
pub(super) type Answer = Result<Bytes, Refusal>;

impl Session {
    /// Connects, and asks for a session of about that time.
    pub(super) async fn open(
        url: &Url,
        tls: Option<&Connector>,
        timeout: Duration,
        env: &Env,
    ) -> Result<Self, SessionError> {
        let socket = dial(url, tls, env).await?;
        Self::over(socket, timeout, env).await
    }

    async fn over(
        socket: Box<dyn Socket>,
        timeout: Duration,
        env: &Env,
    ) -> Result<Self, SessionError> {
        let mut session = Self {
            socket,
            read: BytesMut::new(),
            events: VecDeque::new(),
            number: 0,
            third: timeout.checked_div(3).unwrap_or_default(),
            sent: env.instant(),
            env: env.clone(),
        };
        let asked = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        session.send(&jute::connect(asked)).await?;
        let granted = jute::connected(session.frame_in_time().await?)?;
        if granted == 0 {
            return Err(SessionError::Closed);
        }
        session.third = Duration::from_millis(u64::from(granted / 3));
        Ok(session)
    }

    /// Shows a name and a password.
    pub(super) async fn authorize(&mut self, secret: &[u8]) -> Result<Answer, SessionError> {
        self.send(&Ask::Auth("digest", secret).written(0)).await?;
        self.answer_to(jute::AUTH).await
    }

    /// Asks once.
    pub(super) async fn ask(&mut self, ask: Ask<'_>) -> Result<Answer, SessionError> {
        self.number = self.number.wrapping_add(1) & i32::MAX;
        let number = self.number;
        self.send(&ask.written(number)).await?;
        self.answer_to(number).await
    }

    /// Asks for many things, many at a time; the answers come in the order of the questions.
    pub(super) async fn ask_all(&mut self, asks: &[Ask<'_>]) -> Result<Vec<Answer>, SessionError> {
        let mut answers = Vec::with_capacity(asks.len());
        for chunk in asks.chunks(PIPELINE) {
            let mut written = BytesMut::new();
            let mut numbers = Vec::with_capacity(chunk.len());
            for ask in chunk {
                self.number = self.number.wrapping_add(1) & i32::MAX;
                numbers.push(self.number);
                written.extend_from_slice(&ask.written(self.number));
            }
            self.send(&written).await?;
            for number in numbers {
                answers.push(self.answer_to(number).await?);
            }
        }
        Ok(answers)
    }

    /// What happened; empty if nothing did: in that time, or for long, but the server is
    /// there still.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub(super) async fn events(
        &mut self,
        within: Option<Duration>,
    ) -> Result<Vec<Event>, SessionError> {
        // Where there is always something to hear, nobody would wait long enough to say it.
        if self.env.instant().saturating_duration_since(self.sent) >= self.third {
            self.send(&Ask::Ping.written(0)).await?;
        }
        if self.events.is_empty() {
            let env = self.env.clone();
            match env
                .timeout(within.unwrap_or(self.third), self.frame())
                .await
            {
                Ok(frame) => self.hear(frame?)?,
                Err(_elapsed) if within.is_some() => {}
                Err(_elapsed) => {
                    self.send(&Ask::Ping.written(0)).await?;
                    let frame = self.frame_in_time().await?;
                    self.hear(frame)?;
                }
            }
        }
        // What came along with it is part of the same change.
        while let Some(frame) = self.whole_frame()? {
            self.hear(frame)?;
        }
        Ok(self.events.drain(..).collect())
    }

    /// Takes what nobody asked for: an event, or the answer to a ping.
    fn hear(&mut self, mut frame: Bytes) -> Result<(), SessionError> {
        let (number, _) = jute::head(&mut frame)?;
        if number == jute::EVENT {
            if self.events.len() >= EVENTS_MAX {
                return Err(SessionError::Flooded);
            }
            self.events.push_back(jute::event(frame)?);
        }
        Ok(())
    }

    async fn answer_to(&mut self, number: i32) -> Result<Answer, SessionError> {
        loop {
            let frame = self.frame_in_time().await?;
            let mut body = frame.clone();
            let (found, refusal) = jute::head(&mut body)?;
            if found == number {
                return Ok(refusal.map_or(Ok(body), Err));
            }
            if found != jute::EVENT && found != jute::PING {
                return Err(Malformed.into());
            }
            self.hear(frame)?;
        }
    }

    async fn frame_in_time(&mut self) -> Result<Bytes, SessionError> {
        let within = self.third.saturating_mul(2);
        let env = self.env.clone();
        let frame = env.timeout(within, self.frame()).await;
        frame.map_err(|_| SessionError::Silent)?
    }

    async fn frame(&mut self) -> Result<Bytes, SessionError> {
        loop {
            if let Some(frame) = self.whole_frame()? {
                return Ok(frame);
            }
            let read = self.socket.read_buf(&mut self.read).await;
            if read.map_err(SessionError::Broken)? == 0 {
                return Err(SessionError::Closed);
            }
        }
    }

    /// A frame that was read already.
    fn whole_frame(&mut self) -> Result<Option<Bytes>, SessionError> {
        let Some(mut head) = self.read.get(..4) else {
            return Ok(None);
        };
        let size = usize::try_from(head.get_u32()).unwrap_or(usize::MAX);
        if size > MESSAGE_BYTES_MAX {
            return Err(SessionError::TooLarge { size });
        }
        if self.read.len().saturating_sub(4) < size {
            return Ok(None);
        }
        self.read.advance(4);
        Ok(Some(self.read.split_to(size).freeze()))
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let within = self.third.saturating_mul(2);
        let env = self.env.clone();
        let sending = env.timeout(within, self.socket.write_all(bytes));
        let sent = sending.await.map_err(|_| SessionError::Silent)?;
        sent.map_err(SessionError::Broken)?;
        self.sent = self.env.instant();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    /// How long the server lets a session live without a word.
    const GRANTED: Duration = Duration::from_secs(3);

    fn framed(body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&size, body].concat()
    }

    fn created(path: &str) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_i32(jute::EVENT);
        body.put_i64(-1);
        body.put_i32(0);
        body.put_i32(1);
        body.put_i32(3);
        body.put_u32(u32::try_from(path.len()).unwrap());
        body.put_slice(path.as_bytes());
        framed(&body)
    }

    fn granted() -> Vec<u8> {
        let mut body = Vec::new();
        body.put_i32(0);
        body.put_i32(i32::try_from(GRANTED.as_millis()).unwrap());
        body.put_i64(1);
        body.put_u32(16);
        body.put_slice(&[0; 16]);
        framed(&body)
    }

    /// Speaks of something twice a second, and hangs up as a server does: after a session's
    /// time without a word. Gives how many words there were.
    async fn busy(mut socket: tokio::io::DuplexStream, env: Env, for_so_long: Duration) -> usize {
        let mut word = BytesMut::new();
        socket.read_buf(&mut word).await.unwrap();
        socket.write_all(&granted()).await.unwrap();
        let begun = env.instant();
        let (mut heard_at, mut words) = (begun, 0_usize);
        loop {
            let next = env.timeout(Duration::from_millis(500), socket.read_buf(&mut word));
            match next.await {
                Ok(Ok(0) | Err(_)) => return words,
                Ok(Ok(_)) => {
                    heard_at = env.instant();
                    words = words.saturating_add(1);
                    continue;
                }
                Err(_elapsed) => {}
            }
            let now = env.instant();
            let for_all = now.saturating_duration_since(begun);
            if now.saturating_duration_since(heard_at) > GRANTED || for_all > for_so_long {
                return words;
            }
            socket.write_all(&created("/s/a")).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_server_hears_that_we_are_there() {
        let env = Env::virtual_time(1);
        let (ours, theirs) = tokio::io::duplex(4096);
        let for_so_long = Duration::from_secs(30);
        let server = busy(theirs, env.clone(), for_so_long);
        let client = async {
            let begun = env.instant();
            let mut session = Session::over(Box::new(ours), GRANTED, &env).await.unwrap();
            while session.events(None).await.is_ok() {}
            env.instant().saturating_duration_since(begun)
        };
        let (words, lasted) = tokio::join!(server, client);
        assert!(lasted > for_so_long, "it lasted {lasted:?}");
        assert!((10..=40).contains(&words), "{words} words in {lasted:?}");
    }
}
