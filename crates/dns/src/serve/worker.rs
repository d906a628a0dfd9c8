//! A worker's thread: it takes datagrams and connections and answers them.

use std::{
    io,
    net::{TcpListener as Streams, UdpSocket},
    sync::Arc,
    time::Duration,
};

use portolan_runtime::{Task, drain::DrainWatch};
use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions},
    sync::mpsc,
};

use super::{
    datagrams,
    room::{Room, Stay},
    stream,
};
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
    /// The connections of all workers.
    pub(super) room: Arc<Room>,
    /// Says when to take no more, and waits for what is under way.
    pub(super) drain: DrainWatch,
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
        let (engine, drain) = (Arc::clone(engine), door.drain.clone());
        let env = engine.env.clone();
        let hold = drain.hold();
        tasks.push(env.spawn_local("dns datagrams", async move {
            let _hold = hold;
            if let Err(error) = datagrams::serve(engine, socket, &drain).await {
                tracing::error!(%error, "DNS can't be answered by UDP");
            }
        }));
    }
    for socket in door.streams {
        let (engine, room) = (Arc::clone(engine), Arc::clone(&door.room));
        let drain = door.drain.clone();
        let env = engine.env.clone();
        let hold = drain.hold();
        tasks.push(env.spawn_local("dns listener", async move {
            let _hold = hold;
            if let Err(error) = accept(engine, socket, room, drain).await {
                tracing::error!(%error, "DNS can't be answered by TCP");
            }
        }));
    }
    tasks
}

async fn accept(
    engine: Arc<Engine>,
    socket: Streams,
    room: Arc<Room>,
    mut drain: DrainWatch,
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = TcpListener::from_std(socket)?;
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain.draining() => return Ok(()),
            accepted = socket.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                engine.env.sleep(OUT_OF_DESCRIPTORS).await;
                continue;
            }
        };
        let Some(seat) = room.enter(address.ip(), engine.env.instant()) else {
            tracing::debug!(%address, "no room for one more DNS connection of that client");
            continue;
        };
        let Ok(local) = stream.local_addr() else {
            continue;
        };
        let peer = Peer {
            address,
            transport: Transport::Stream,
        };
        let stay = Stay::new(drain.clone(), seat);
        let engine = Arc::clone(&engine);
        let env = engine.env.clone();
        let serving = async move {
            let served = stream::serve(engine, stream, (peer, local.ip()), stay).await;
            if let Err(error) = served {
                tracing::debug!(%error, "a DNS connection ended");
            }
        };
        env.spawn_local("dns connection", serving).detach();
    }
}
