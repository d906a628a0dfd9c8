//! A worker's thread: it takes sockets and runs everything that comes of them.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener as Socket, TcpStream as Accepted},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use portolan_runtime::{Task, drain::DrainWatch};
use portolan_telemetry::Gauge;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    sync::mpsc,
};

use crate::{
    front,
    listener::ListenerState,
    worker::{Shared, Worker},
};

/// How long to wait when the system has no descriptor for a new socket.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);
/// How often the pool is swept.
const SWEEP: Duration = Duration::from_secs(1);
/// Connections by which a worker may exceed the mean, besides a quarter of it.
const EXCESS: usize = 8;

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Take sockets of that listener from here on.
    Listen(Arc<ListenerState>, Socket),
    /// Take no more sockets of the listener at that address.
    Unlisten(SocketAddr),
    /// A socket that another worker accepted and has no room for.
    Serve(Arc<ListenerState>, Accepted, SocketAddr),
}

/// Where a worker is told things, and how loaded it is.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    /// Connections open. Written by the worker alone.
    pub(crate) connections: Arc<AtomicUsize>,
}

/// Runs a worker until the drain is over and its commands end.
///
/// # Errors
/// The system's, if it refuses a runtime.
pub(crate) fn run(
    shared: Shared,
    index: usize,
    (commands, seats): (mpsc::UnboundedReceiver<Command>, Arc<[Seat]>),
    drain: DrainWatch,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let worker = Worker::new(shared, index);
        let hands = Hands {
            worker: Rc::clone(&worker),
            seats,
            index,
            drain: drain.clone(),
        };
        let mut drain = drain;
        let helpers = [ticking(&worker), following(&worker), sweeping(&worker)];
        tokio::select! {
            () = follow(hands, commands) => {}
            () = async {
                drain.draining().await;
                worker.draining.set(true);
                worker.ticker.wake_all();
                std::future::pending::<()>().await;
            } => {}
        }
        drop(helpers);
    });
    Ok(())
}

fn ticking(worker: &Rc<Worker>) -> Task {
    let ticking = Rc::clone(worker);
    worker.shared.env.spawn_local("ticker", async move {
        ticking.ticker.run(&ticking.shared.env).await;
    })
}

fn following(worker: &Rc<Worker>) -> Task {
    let following = Rc::clone(worker);
    worker
        .shared
        .env
        .spawn_local("view", async move { following.view.follow().await })
}

fn sweeping(worker: &Rc<Worker>) -> Task {
    let sweeping = Rc::clone(worker);
    worker.shared.env.spawn_local("pool sweeper", async move {
        loop {
            sweeping.shared.env.sleep(SWEEP).await;
            sweeping.sweep();
            sweeping
                .meters
                .set(Gauge::UpstreamIdle, sweeping.pool.idle_count());
        }
    })
}

/// What it takes to accept.
#[derive(Clone)]
struct Hands {
    worker: Rc<Worker>,
    seats: Arc<[Seat]>,
    index: usize,
    drain: DrainWatch,
}

async fn follow(hands: Hands, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut listening: HashMap<SocketAddr, Vec<Task>> = HashMap::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen(state, socket) => {
                let address = state.address();
                match TcpListener::from_std(socket) {
                    Ok(socket) => {
                        let env = hands.worker.shared.env.clone();
                        let task =
                            env.spawn_local("listener", accept(hands.clone(), state, socket));
                        listening.entry(address).or_default().push(task);
                    }
                    Err(error) => {
                        tracing::error!(%error, %address, "a listening socket is unusable");
                    }
                }
            }
            Command::Unlisten(address) => drop(listening.remove(&address)),
            Command::Serve(state, socket, peer) => match TcpStream::from_std(socket) {
                Ok(socket) => hands.serve(state, socket, peer),
                Err(error) => tracing::warn!(%error, "a handed-over socket is unusable"),
            },
        }
    }
}

async fn accept(hands: Hands, state: Arc<ListenerState>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => hands.take(&state, socket, peer),
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection can't be accepted");
                hands.worker.shared.env.sleep(OUT_OF_DESCRIPTORS).await;
            }
        }
    }
}

/// Whether the fault is that of the connection that was to be accepted.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

impl Hands {
    /// Serves a socket here, or hands it to the least loaded worker when there is too much here.
    fn take(&self, state: &Arc<ListenerState>, socket: TcpStream, peer: SocketAddr) {
        let Some(seat) = self.elsewhere() else {
            return self.serve(Arc::clone(state), socket, peer);
        };
        match socket.into_std() {
            Ok(socket) => {
                // A worker that is gone has no room either: the socket is then closed.
                let _sent = seat
                    .commands
                    .send(Command::Serve(Arc::clone(state), socket, peer));
            }
            Err(error) => tracing::warn!(%error, "a socket can't be handed over"),
        }
    }

    /// The least loaded worker, if this one has a quarter more than the mean.
    fn elsewhere(&self) -> Option<&Seat> {
        let count = |seat: &Seat| seat.connections.load(Relaxed);
        let mine = count(self.seats.get(self.index)?);
        let total: usize = self.seats.iter().map(count).sum();
        let mean = total / self.seats.len();
        if mine <= mean + mean / 4 + EXCESS {
            return None;
        }
        self.seats.iter().min_by_key(|seat| count(seat))
    }

    fn serve(&self, state: Arc<ListenerState>, socket: TcpStream, peer: SocketAddr) {
        let worker = Rc::clone(&self.worker);
        let seat = Arc::clone(&self.seats[self.index].connections);
        let hold = self.drain.hold();
        seat.store(seat.load(Relaxed) + 1, Relaxed);
        let env = self.worker.shared.env.clone();
        let serving = async move {
            let _counted = Counted(seat);
            front::open(worker, state, socket, peer).await;
            drop(hold);
        };
        env.spawn_local("connection", serving).detach();
    }
}

/// Counts a connection off when it ends, however it ends.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0
            .store(self.0.load(Relaxed).saturating_sub(1), Relaxed);
    }
}
