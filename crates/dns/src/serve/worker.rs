//! A worker's thread: it takes datagrams and connections and answers them.

use std::{
    io,
    net::{TcpListener as Streams, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use portolan_runtime::Task;
use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions},
    sync::mpsc,
};

use super::{datagrams, stream};
use crate::{Peer, Transport, engine::Engine};

/// How long to wait when the system has no descriptor for a new socket.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);

/// What a worker is told.
pub(super) enum Command {
    /// Take queries from these sockets from here on.
    Listen(Door),
    /// Take no more queries from sockets.
    Unlisten,
}

/// Sockets, and how much may come by them.
pub(super) struct Door {
    pub(super) streams: Vec<Streams>,
    pub(super) datagrams: Vec<UdpSocket>,
    /// Connections of all workers.
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) connections_max: usize,
}

/// Runs until its commands end.
///
/// # Errors
/// The system's, if it refuses a runtime.
pub(super) fn run(
    engine: Arc<Engine>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let mut listening: Vec<Task> = Vec::new();
        while let Some(command) = commands.recv().await {
            listening.clear();
            if let Command::Listen(door) = command {
                listening = listen(&engine, door);
            }
        }
        drop(listening);
    });
    Ok(())
}

fn listen(engine: &Arc<Engine>, door: Door) -> Vec<Task> {
    let mut tasks = Vec::new();
    for socket in door.datagrams {
        let engine = Arc::clone(engine);
        let env = engine.env.clone();
        tasks.push(env.spawn_local("dns datagrams", async move {
            if let Err(error) = datagrams::serve(engine, socket).await {
                tracing::error!(%error, "DNS can't be answered by UDP");
            }
        }));
    }
    for socket in door.streams {
        let (engine, connections) = (Arc::clone(engine), Arc::clone(&door.connections));
        let env = engine.env.clone();
        let most = door.connections_max;
        tasks.push(env.spawn_local("dns listener", async move {
            if let Err(error) = accept(engine, socket, connections, most).await {
                tracing::error!(%error, "DNS can't be answered by TCP");
            }
        }));
    }
    tasks
}

/// A connection that is counted while it lasts.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn accept(
    engine: Arc<Engine>,
    socket: Streams,
    connections: Arc<AtomicUsize>,
    most: usize,
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = TcpListener::from_std(socket)?;
    loop {
        let (stream, address) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                engine.env.sleep(OUT_OF_DESCRIPTORS).await;
                continue;
            }
        };
        let counted = Counted(Arc::clone(&connections));
        if connections.fetch_add(1, Ordering::Relaxed) >= most {
            continue;
        }
        let Ok(local) = stream.local_addr() else {
            continue;
        };
        let peer = Peer {
            address,
            transport: Transport::Stream,
        };
        let engine = Arc::clone(&engine);
        let env = engine.env.clone();
        let serving = async move {
            let served = stream::serve(engine, stream, peer, local.ip()).await;
            if let Err(error) = served {
                tracing::debug!(%error, "a DNS connection ended");
            }
            drop(counted);
        };
        env.spawn_local("dns connection", serving).detach();
    }
}
