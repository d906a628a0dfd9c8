//! One question to one recursor.
//!
//! Whoever forges an answer has to guess the port, the id and the letters' case, all of
//! which come from the system's generator. What doesn't fit is passed over, and after too
//! much of it the question is asked by TCP.
//!
//! Source: RFC 5452; draft-vixie-dnsext-dns0x20; RFC 7766; RFC 6891, section 7.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

use super::{
    answer::{Answer, Mismatch},
    message::{Asked, FORMERR, NOTIMP},
};

/// Datagrams that don't fit until the question is asked by TCP.
const FOREIGN_MAX: usize = 16;
/// The largest datagram that is read: more than what we say that we take.
const DATAGRAM_MAX: usize = 4096;
/// BADVERS: the server knows another version of EDNS only.
const BADVERS: u16 = 16;

/// Why there is no answer. The question's deadline is the caller's.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The recursor can't be reached, or went away.
    #[error("can't be reached")]
    Unreachable(#[from] io::Error),
    /// What comes back is no answer to the question.
    #[error("its answer can't be read")]
    Unreadable,
    /// No port can be drawn that nobody foresees.
    #[error("the machine gives no random bytes")]
    NoEntropy,
}

/// An answer, later.
pub(super) type Asking<'a> = Pin<Box<dyn Future<Output = Result<Answer, AskError>> + Send + 'a>>;

/// Asks a recursor. Called for every try; may be dropped at any time.
pub(super) trait Exchange: Send + Sync {
    /// The answer to this question from there; it may be one that says that it failed.
    fn ask<'a>(&'a self, recursor: SocketAddr, asked: &'a Asked) -> Asking<'a>;
}

/// Asks by sockets, a new one for each question.
pub(super) struct Sockets;

impl Exchange for Sockets {
    fn ask<'a>(&'a self, recursor: SocketAddr, asked: &'a Asked) -> Asking<'a> {
        Box::pin(ask(recursor, asked))
    }
}

async fn ask(recursor: SocketAddr, asked: &Asked) -> Result<Answer, AskError> {
    let answer = ask_anyhow(recursor, &asked.spelled(true)?).await?;
    let is_misunderstood = [FORMERR, NOTIMP].map(u16::from).contains(&answer.rcode);
    if is_misunderstood || answer.rcode == BADVERS {
        // Servers from before EDNS say so.
        return ask_anyhow(recursor, &asked.spelled(false)?).await;
    }
    Ok(answer)
}

impl Asked {
    /// A query that nobody can foresee.
    fn spelled(&self, has_edns: bool) -> Result<Vec<u8>, AskError> {
        let (mut id, mut chance) = ([0; 2], [0; 32]);
        let random = SystemRandom::new();
        let filled = random.fill(&mut id).and_then(|()| random.fill(&mut chance));
        filled.map_err(|_| AskError::NoEntropy)?;
        Ok(self.query(u16::from_be_bytes(id), &chance, has_edns))
    }
}

async fn ask_anyhow(recursor: SocketAddr, query: &[u8]) -> Result<Answer, AskError> {
    match ask_by_udp(recursor, query).await? {
        Some(answer) if !answer.is_truncated => Ok(answer),
        Some(_) | None => ask_by_tcp(recursor, query).await,
    }
}

/// None if datagrams can't be trusted.
async fn ask_by_udp(recursor: SocketAddr, query: &[u8]) -> Result<Option<Answer>, AskError> {
    let any: SocketAddr = match recursor {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // The system draws the port, and passes on what comes from the recursor only.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(recursor).await?;
    socket.send(query).await?;
    let mut bytes = vec![0; DATAGRAM_MAX];
    for _ in 0..FOREIGN_MAX {
        let length = socket.recv(&mut bytes).await?;
        match Answer::read(query, bytes.get(..length).unwrap_or_default()) {
            Ok(answer) => return Ok(Some(answer)),
            Err(Mismatch::Case) => return Ok(None),
            Err(Mismatch::Foreign | Mismatch::Broken) => {}
        }
    }
    Ok(None)
}

async fn ask_by_tcp(recursor: SocketAddr, query: &[u8]) -> Result<Answer, AskError> {
    let mut stream = TcpStream::connect(recursor).await?;
    stream.set_nodelay(true)?;
    let length = u16::try_from(query.len()).map_err(|_| AskError::Unreadable)?;
    let framed = [&length.to_be_bytes(), query].concat();
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    match Answer::read(query, &bytes) {
        Ok(answer) => Ok(answer),
        // Nobody forges TCP blindly: this server folds names.
        Err(Mismatch::Case) => Answer::read_folded(query, &bytes).ok_or(AskError::Unreadable),
        Err(Mismatch::Foreign | Mismatch::Broken) => Err(AskError::Unreadable),
    }
}
