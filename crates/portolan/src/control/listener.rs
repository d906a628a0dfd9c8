//! One control listener, which follows what the plan says of it.

use std::{error::Error, net::SocketAddr, num::NonZeroUsize, sync::Arc};

use portolan_runtime::{Env, Task, drain::Drain, sockets::Sockets};
use portolan_wire::serve::{Handler, Hosts, Limits, Settings, serve};

/// What a plan asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) address: SocketAddr,
    pub(super) hosts: Hosts,
}

/// A listener and who answers on it.
pub(super) struct Listener {
    name: &'static str,
    handler: Arc<dyn Handler>,
    limits: Limits,
    env: Env,
    open: Option<Open>,
}

struct Open {
    wanted: Wanted,
    /// Where it listens indeed.
    address: SocketAddr,
    drain: Drain,
    tasks: Vec<Task>,
    is_accepting: bool,
}

impl Listener {
    pub(super) fn new(name: &'static str, handler: Arc<dyn Handler>, env: Env) -> Self {
        Self {
            name,
            handler,
            limits: Limits::default(),
            env,
            open: None,
        }
    }

    /// With other limits than the usual ones.
    pub(super) fn with(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.open.as_ref().map(|open| open.address)
    }

    /// Opens, closes or moves the listener so that it is as wanted.
    ///
    /// # Errors
    /// The new address can't be listened on; the old one is kept.
    pub(super) fn follow(
        &mut self,
        wanted: Option<Wanted>,
        sockets: &mut Sockets,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Some(wanted) = wanted else {
            self.close(sockets);
            return Ok(());
        };
        let before = self.open.as_ref();
        if before.is_some_and(|open| open.is_accepting && open.wanted == wanted) {
            return Ok(());
        }
        // A port that the system chose is kept as long as that is what is wanted.
        let stays = before.filter(|open| open.wanted.address == wanted.address);
        let address = stays.map_or(wanted.address, |open| open.address);
        let is_moving = stays.is_none();
        let opened = self.listen(wanted, address, sockets)?;
        if is_moving {
            self.close(sockets);
        } else {
            self.stop_accepting();
        }
        self.open = Some(opened);
        Ok(())
    }

    /// Takes no more connections; those that are open end with their answer.
    pub(super) fn stop_accepting(&mut self) {
        if let Some(open) = &mut self.open {
            open.drain.start();
            open.is_accepting = false;
        }
    }

    /// Resolves when nobody accepts and no answer is under way any more.
    pub(super) async fn ended(&mut self) {
        let Some(open) = &mut self.open else { return };
        for task in &mut open.tasks {
            task.await;
        }
        let whenever = std::time::Duration::MAX;
        // There is no deadline here: the caller has one.
        let _ended = open.drain.wait(&self.env, whenever).await;
    }

    fn listen(
        &self,
        wanted: Wanted,
        address: SocketAddr,
        sockets: &mut Sockets,
    ) -> Result<Open, Box<dyn Error + Send + Sync>> {
        let listening = sockets
            .listen(address, NonZeroUsize::MIN)
            .map_err(|error| format!("{}: {error}", self.name))?;
        let drain = Drain::new();
        let settings = Settings {
            limits: self.limits.clone(),
            hosts: wanted.hosts.clone(),
        };
        let serve_one = |socket| {
            let (handler, settings) = (Arc::clone(&self.handler), settings.clone());
            let (watch, env, name) = (drain.watch(), self.env.clone(), self.name);
            self.env.spawn("control listener", async move {
                if let Err(error) = serve(socket, handler, settings, watch, env).await {
                    tracing::error!(%error, listener = name, "a control listener can't serve");
                }
            })
        };
        let tasks = listening.listeners.into_iter().map(serve_one).collect();
        Ok(Open {
            wanted,
            address: listening.address,
            drain,
            tasks,
            is_accepting: true,
        })
    }

    fn close(&mut self, sockets: &mut Sockets) {
        self.stop_accepting();
        if let Some(open) = self.open.take() {
            sockets.close(open.address);
            for task in open.tasks {
                task.detach();
            }
        }
    }
}
