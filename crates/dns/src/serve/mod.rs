//! The server as the program holds it: threads, sockets, settings.

mod batch;
mod datagrams;
mod room;
mod stream;
mod worker;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use portolan_config::Dns as Planned;
use portolan_runtime::{
    Env,
    drain::Drain,
    sockets::{ListenError, Sockets},
};
use portolan_snapshot::View;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

pub(crate) use self::room::{Room, Stay};
#[cfg(test)]
pub(crate) use self::stream::serve as serve_stream;
use self::worker::{Command, Door};
use crate::{Gateway, Meters, Others, Peer, engine::Engine, settings::Settings};

/// Threads, if nobody says how many: more would only share the cores with the gateway.
const WORKERS: usize = 4;

/// Why the server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address can't be listened on.
    #[error("dns")]
    Listen(#[from] ListenError),
    /// The system refuses a thread.
    #[error("a thread can't be started")]
    Thread(#[source] io::Error),
}

/// The DNS server.
pub struct Dns {
    engine: Arc<Engine>,
    workers: NonZeroUsize,
    seats: Vec<mpsc::UnboundedSender<Command>>,
    threads: Vec<JoinHandle<()>>,
    /// What was asked for, and where it listens indeed.
    open: Option<(SocketAddr, SocketAddr)>,
    is_accepting: bool,
    room: Arc<Room>,
    /// Of those who listen.
    drain: Drain,
    planned: Option<(Planned, Gateway)>,
}

impl Dns {
    /// A server that does not listen yet.
    #[must_use]
    pub fn new(env: &Env, view: &View, planned: &Planned) -> Self {
        let settings = Settings::new(planned, Gateway::default());
        let engine = Arc::new(Engine::new(env.clone(), view, settings));
        let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let usual = || cores().min(NonZeroUsize::new(WORKERS).unwrap_or(NonZeroUsize::MIN));
        Self {
            engine,
            workers: planned.workers.unwrap_or_else(usual),
            seats: Vec::new(),
            threads: Vec::new(),
            open: None,
            is_accepting: false,
            room: Arc::new(Room::new(
                planned.connections_max.get(),
                None,
                env.instant(),
            )),
            drain: Drain::new(),
            planned: None,
        }
    }

    /// Says who knows what the snapshot does not.
    pub fn set_others(&self, others: Others) {
        self.engine.set_others(others);
    }

    /// What is counted.
    #[must_use]
    pub fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.engine.meters)
    }

    /// Where it listens, if it does.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.open.map(|(_, address)| address)
    }

    /// Opens, closes or moves the sockets as the plan says, and answers by its settings.
    ///
    /// # Errors
    /// [`OpenError`]: it listens where it did before, if it did.
    pub fn follow(
        &mut self,
        planned: &Planned,
        gateway: Gateway,
        sockets: &mut Sockets,
    ) -> Result<(), OpenError> {
        let wanted = (planned.clone(), gateway);
        if self.planned.as_ref() != Some(&wanted) {
            self.engine.set(Settings::new(planned, wanted.1.clone()));
            self.planned = Some(wanted);
        }
        self.room.set_most(planned.connections_max.get());
        if !planned.is_enabled {
            self.close(sockets);
            return Ok(());
        }
        let before = self.open.filter(|(asked, _)| *asked == planned.address);
        if before.is_some() && self.is_accepting {
            return Ok(());
        }
        // A port that the system chose is kept as long as that is what is wanted.
        let address = before.map_or(planned.address, |(_, bound)| bound);
        self.start().map_err(OpenError::Thread)?;
        let streams = sockets.listen(address, self.workers)?;
        let datagrams = match sockets.listen_datagrams(streams.address, self.workers) {
            Ok(datagrams) => datagrams,
            Err(error) => {
                sockets.close(streams.address);
                return Err(error.into());
            }
        };
        if before.is_none() {
            self.close(sockets);
        }
        self.drain = Drain::new();
        for (place, seat) in self.seats.iter().enumerate() {
            let mine = |at: &usize| at.checked_rem(self.workers.get()) == Some(place);
            let door = Door {
                streams: dealt(&streams.listeners, mine),
                datagrams: dealt(&datagrams.sockets, mine),
                room: Arc::clone(&self.room),
                drain: self.drain.watch(),
            };
            // A thread that has ended takes no part.
            let _ended = seat.send(Command::Listen(door));
        }
        self.open = Some((planned.address, streams.address));
        self.is_accepting = true;
        Ok(())
    }

    /// Takes no more queries; the sockets stay open, for a successor. Connections end when
    /// what came by them is answered.
    pub fn stop_accepting(&mut self) {
        self.is_accepting = false;
        self.drain.start();
        for seat in &self.seats {
            let _ended = seat.send(Command::Unlisten);
        }
    }

    /// Resolves, after [`Dns::stop_accepting`], when no query is under way any more.
    pub async fn ended(&self) {
        // There is no deadline here: the caller has one.
        let _ended = self.drain.wait(&self.engine.env, Duration::MAX).await;
    }

    /// Answers one message that came by another way, like HTTPS.
    pub async fn answer(&self, message: Bytes, peer: Peer, local: IpAddr) -> Option<Bytes> {
        self.engine.answer_owned(message, peer, local).await
    }

    /// A handle to answer by, for those who listen themselves.
    #[must_use]
    pub fn answerer(&self) -> Answerer {
        Answerer(Arc::clone(&self.engine))
    }

    fn start(&mut self) -> io::Result<()> {
        while self.seats.len() < self.workers.get() {
            let (seat, commands) = mpsc::unbounded_channel();
            let engine = Arc::clone(&self.engine);
            let body = move || {
                if let Err(error) = worker::run(engine, commands) {
                    tracing::error!(%error, "a DNS worker can't run");
                }
            };
            let name = format!("dns-{}", self.seats.len());
            self.threads
                .push(thread::Builder::new().name(name).spawn(body)?);
            self.seats.push(seat);
        }
        Ok(())
    }

    fn close(&mut self, sockets: &mut Sockets) {
        if let Some((_, address)) = self.open.take() {
            self.stop_accepting();
            sockets.close(address);
        }
    }
}

/// Answers for those who listen themselves; cheap to clone.
#[derive(Clone)]
pub struct Answerer(Arc<Engine>);

impl Answerer {
    /// Answers one message from the table; none if that does not know.
    pub(crate) fn answer_now(&self, message: &[u8], peer: Peer, local: IpAddr) -> Option<Bytes> {
        let mut answer = None;
        let written = |bytes: &[u8]| answer = Some(Bytes::copy_from_slice(bytes));
        let _reply = self.0.answer_now(message, peer, local, written);
        answer
    }

    /// Answers one message.
    pub async fn answer(&self, message: Bytes, peer: Peer, local: IpAddr) -> Option<Bytes> {
        self.0.answer_owned(message, peer, local).await
    }

    /// Answers a connection until it ends: messages with their lengths before them (RFC 1035,
    /// section 4.2.2), as over TCP and TLS. Must be called within a runtime.
    ///
    /// # Errors
    /// The connection's.
    pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        way: (Peer, IpAddr),
        stay: Stay,
    ) -> io::Result<()> {
        stream::serve(Arc::clone(&self.0), stream, way, stay).await
    }
}

/// The sockets of one worker.
fn dealt<T: Duplicate>(sockets: &[T], is_mine: impl Fn(&usize) -> bool) -> Vec<T> {
    let sockets = sockets.iter().enumerate();
    let mine = sockets.filter(|(at, _)| is_mine(at));
    // What can't be duplicated is served by nobody: the system is out of descriptors.
    mine.filter_map(|(_, socket)| socket.duplicate()).collect()
}

trait Duplicate: Sized {
    fn duplicate(&self) -> Option<Self>;
}

impl Duplicate for std::net::TcpListener {
    fn duplicate(&self) -> Option<Self> {
        self.try_clone().ok()
    }
}

impl Duplicate for std::net::UdpSocket {
    fn duplicate(&self) -> Option<Self> {
        self.try_clone().ok()
    }
}
