//! Queries by UDP: many are received at a time and answered at a time, each from where it came
//! to.
//!
//! A socket of one address sends by one system call for many answers. One of all addresses must
//! say for each answer which it is from, which only single ones can.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket as Raw},
    sync::Arc,
};

use bytes::Bytes;
use nix::sys::socket::{
    setsockopt,
    sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo, ReceiveTimestampns},
};
use portolan_runtime::drain::DrainWatch;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::sockopt::{set_ip_recvtos, set_ipv6_recvtclass};
use tokio::{io::Interest, net::UdpSocket, sync::Semaphore};

use super::batch::Batch;
use crate::{
    Peer, Transport,
    engine::{Asked, Engine, Hand, Outcome, Task},
    meters::Dropped,
};

/// Room for what one receive gives: the kernel may put datagrams of one sender together. Pages
/// that are never written take no memory.
const ROOM: usize = 1 << 16;
/// From one to the next. Some lines of the cache more, or all beginnings would share one place
/// of it, and each query would have to be fetched again when it is read.
const STRIDE: usize = ROOM + 3 * 64;
/// What the system is asked to keep of a burst, in bytes; it may give less.
const QUEUE: usize = 1 << 20;
/// Receives in a row after which other tasks have their turn.
const TURN: usize = 4;
/// Queries that others may be asked at a time, by this worker.
const LATER_MAX: usize = 1024;

/// A socket and what it takes to answer by it.
struct Desk {
    engine: Arc<Engine>,
    socket: Arc<Socket>,
    hand: Hand,
    batch: Batch,
    later: Arc<Semaphore>,
    drain: DrainWatch,
}

struct Socket {
    raw: UdpSocket,
    state: UdpSocketState,
    /// The address that all queries come to, if there is one only.
    local: Option<IpAddr>,
}

/// Where a query came from and to.
#[derive(Clone, Copy)]
struct Way {
    peer: SocketAddr,
    local: Option<IpAddr>,
}

/// Answers for ever.
///
/// # Errors
/// The system's, if the socket can't be used.
pub(super) async fn serve(engine: Arc<Engine>, socket: Raw, drain: &DrainWatch) -> io::Result<()> {
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    let local = Some(socket.local_addr()?.ip()).filter(|ip| !ip.is_unspecified());
    prepare(&socket, &state, local.is_none());
    let socket = UdpSocket::from_std(socket)?;
    let mut desk = Desk {
        hand: engine.hand(),
        batch: Batch::default(),
        engine,
        socket: Arc::new(Socket {
            raw: socket,
            state,
            local,
        }),
        later: Arc::new(Semaphore::new(LATER_MAX)),
        drain: drain.clone(),
    };
    let mut room = vec![0; STRIDE.saturating_mul(BATCH_SIZE)];
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    let socket = Arc::clone(&desk.socket);
    let mut turn = 0_usize;
    loop {
        socket.raw.readable().await?;
        let received = socket.raw.try_io(Interest::READABLE, || {
            receive(&socket, &mut room, &mut metas)
        });
        match received {
            Ok(count) => desk.answer(&room, metas.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                turn = 0;
                continue;
            }
            // What a client's refusal brought back is no fault of the socket.
            Err(error) => tracing::debug!(%error, "a datagram could not be received"),
        }
        turn = turn.saturating_add(1);
        if turn >= TURN {
            turn = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Makes room for bursts, and leaves out what every receive would say besides: of congestion,
/// of the time, and where all queries come to one address, of that.
fn prepare(socket: &Raw, state: &UdpSocketState, wants_address: bool) {
    let room = state.set_recv_buffer_size(UdpSockRef::from(socket), QUEUE);
    let is_v4 = socket.local_addr().is_ok_and(|address| address.is_ipv4());
    let congestion = if is_v4 {
        set_ip_recvtos(socket, false)
    } else {
        set_ipv6_recvtclass(socket, false)
    };
    let time = setsockopt(socket, ReceiveTimestampns, &false);
    let address = match (wants_address, is_v4) {
        (true, _) => Ok(()),
        (false, true) => setsockopt(socket, Ipv4PacketInfo, &false),
        (false, false) => setsockopt(socket, Ipv6RecvPacketInfo, &false),
    };
    let done = room.and(congestion.map_err(io::Error::from));
    if let Err(error) = done.and(time.and(address).map_err(io::Error::from)) {
        tracing::debug!(%error, "a socket stays as it is");
    }
}

fn receive(socket: &Socket, room: &mut [u8], metas: &mut [RecvMeta]) -> io::Result<usize> {
    let mut slices = room.chunks_mut(STRIDE);
    let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
        std::array::from_fn(|_| IoSliceMut::new(slices.next().unwrap_or_default()));
    let raw = UdpSockRef::from(&socket.raw);
    socket.state.recv(raw, &mut buffers, metas)
}

impl Desk {
    fn answer(&mut self, room: &[u8], metas: &[RecvMeta]) {
        let began = self.engine.env.instant();
        let mut count = 0_u64;
        for (slice, meta) in room.chunks(STRIDE).zip(metas) {
            let way = Way {
                peer: meta.addr,
                local: self.socket.local.or(meta.dst_ip),
            };
            let datagrams = slice.get(..meta.len).unwrap_or_default();
            for message in datagrams.chunks(meta.stride.max(1)) {
                let is_answered = self.answer_one(message, way, began);
                count = count.saturating_add(u64::from(is_answered));
            }
        }
        self.batch.send(&self.socket.raw);
        let took = self.engine.env.instant().saturating_duration_since(began);
        self.hand.counters.took(took, count);
    }

    /// Answers a query, and says whether the table knew.
    fn answer_one(&mut self, message: &[u8], way: Way, now: std::time::Instant) -> bool {
        let peer = Peer {
            address: way.peer,
            transport: Transport::Udp,
        };
        let local = way.local.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
        let asked = Asked {
            message,
            peer,
            local: local.to_canonical(),
            now,
        };
        match self.engine.answer(&mut self.hand, asked) {
            Outcome::Silent => false,
            Outcome::Now => {
                self.send(way);
                true
            }
            Outcome::Later(task) => {
                self.ask(task, message, &asked, way);
                false
            }
        }
    }

    /// Sends what is in the hand, with others where that can be.
    fn send(&mut self, way: Way) {
        if self.socket.local.is_none() {
            self.socket.send(&self.hand.out, way);
        } else if self.batch.put(&self.hand.out, way.peer) {
            self.batch.send(&self.socket.raw);
        }
    }

    /// Lets others answer.
    fn ask(&self, task: Task, message: &[u8], asked: &Asked<'_>, way: Way) {
        let Ok(permit) = Arc::clone(&self.later).try_acquire_owned() else {
            self.hand.counters.dropped(Dropped::Overload);
            return;
        };
        let (engine, socket) = (Arc::clone(&self.engine), Arc::clone(&self.socket));
        let (peer, local) = (asked.peer, asked.local);
        let message = Bytes::copy_from_slice(message);
        let hold = self.drain.hold();
        let env = engine.env.clone();
        let answering = async move {
            if let Some(answer) = engine.later(task, message, peer, local).await {
                socket.send(&answer, way);
            }
            drop((permit, hold));
        };
        env.spawn("dns later", answering).detach();
    }
}

impl Socket {
    /// Sends an answer from where its query came to. One that finds no room is lost, as any
    /// datagram may be.
    fn send(&self, contents: &[u8], way: Way) {
        let sent = if self.local.is_some() {
            self.raw.try_send_to(contents, way.peer).map(drop)
        } else {
            let transmit = Transmit {
                destination: way.peer,
                ecn: None,
                contents,
                segment_size: None,
                src_ip: way.local,
            };
            self.state.try_send(UdpSockRef::from(&self.raw), &transmit)
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "an answer could not be sent");
        }
    }
}
