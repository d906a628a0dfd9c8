//! The gateway as the program holds it: workers, listeners, drain.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicUsize},
    thread::{self, JoinHandle},
    time::Duration,
};

use portolan_config::{Listener, Plan};
use portolan_model::Name;
use portolan_runtime::{
    Elapsed,
    drain::Drain,
    sockets::{ListenError, Sockets},
};
use portolan_wire::tls::{Alpn, ServerSettings, ServerTls, TlsFileError, Versions};
use tokio::sync::mpsc;

use crate::{
    accept::{Command, Seat, run},
    listener::{ListenerState, Settings},
    worker::Shared,
};

/// Why a listener can't be opened. The others are not touched by it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its address can't be listened on.
    #[error("listener {listener}")]
    Listen {
        /// The listener.
        listener: Name,
        /// Why.
        #[source]
        source: ListenError,
    },
    /// Its certificates can't be used.
    #[error("listener {listener}: {}", texts(problems))]
    Tls {
        /// The listener.
        listener: Name,
        /// Everything that is wrong with the files.
        problems: Vec<TlsFileError>,
    },
}

fn texts(problems: &[TlsFileError]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// All workers and listeners.
#[derive(Debug)]
pub struct Gateway {
    shared: Shared,
    seats: Arc<[Seat]>,
    threads: Vec<JoinHandle<()>>,
    listeners: BTreeMap<Name, Arc<ListenerState>>,
    drain: Drain,
}

impl Gateway {
    /// Starts that many workers, without a listener.
    ///
    /// # Errors
    /// The system's, if it refuses a thread.
    pub fn start(shared: Shared, workers: NonZeroUsize) -> io::Result<Self> {
        let drain = Drain::new();
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers.get())
            .map(|_| mpsc::unbounded_channel())
            .unzip();
        let seat = |commands| Seat {
            commands,
            connections: Arc::new(AtomicUsize::new(0)),
        };
        let seats: Arc<[Seat]> = senders.into_iter().map(seat).collect();
        let mut threads = Vec::new();
        for (index, commands) in receivers.into_iter().enumerate() {
            let (shared, seats, watch) = (shared.clone(), Arc::clone(&seats), drain.watch());
            let body = move || {
                if let Err(error) = run(shared, index, (commands, seats), watch) {
                    tracing::error!(%error, "a worker can't run");
                }
            };
            threads.push(
                thread::Builder::new()
                    .name(format!("worker-{index}"))
                    .spawn(body)?,
            );
        }
        Ok(Self {
            shared,
            seats,
            threads,
            listeners: BTreeMap::new(),
            drain,
        })
    }

    /// Opens, closes and changes listeners so that they are those of `plan`. Connections of
    /// listeners that stay are not touched.
    ///
    /// # Errors
    /// One for each listener that can't be opened or changed; it keeps what it had.
    pub fn apply(&mut self, plan: &Plan, sockets: &mut Sockets) -> Result<(), Vec<OpenError>> {
        let stays = |state: &ListenerState, name: &Name| {
            plan.listener(name)
                .is_some_and(|wanted| is_same_address(state, wanted))
        };
        let gone: Vec<Name> = self
            .listeners
            .iter()
            .filter(|(name, state)| !stays(state, name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.close(&name, sockets);
        }
        let errors: Vec<OpenError> = plan
            .listeners
            .iter()
            .filter_map(|listener| self.open(plan, listener, sockets).err())
            .collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// Where the listeners listen, by name.
    pub fn addresses(&self) -> impl Iterator<Item = (&Name, SocketAddr)> {
        self.listeners
            .iter()
            .map(|(name, state)| (name, state.address()))
    }

    /// Reads all certificates again; new handshakes get what the files hold now.
    ///
    /// # Errors
    /// What is wrong with files; their listeners keep what they had.
    pub fn reload_certificates(&self) -> Result<(), Vec<TlsFileError>> {
        let now = self.shared.env.now();
        let mut errors = Vec::new();
        for state in self.listeners.values() {
            if let Some(tls) = &state.settings().tls
                && let Err(problems) = tls.reload(now)
            {
                errors.extend(problems);
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// Takes no more sockets; the sockets themselves stay open, for a successor.
    pub fn stop_accepting(&mut self) {
        for state in self.listeners.values() {
            self.tell(|| Command::Unlisten(state.address()));
        }
    }

    /// Takes sockets again, after a hand-over that came to nothing.
    ///
    /// # Errors
    /// One for each listener whose sockets can't be had again.
    pub fn resume(&mut self, sockets: &mut Sockets) -> Result<(), Vec<OpenError>> {
        let mut errors = Vec::new();
        for (name, state) in &self.listeners {
            if let Err(source) = self.listen(state, sockets) {
                errors.push(OpenError::Listen {
                    listener: name.clone(),
                    source,
                });
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// Lets connections end with their request, and waits until they have.
    ///
    /// # Errors
    /// [`Elapsed`] if some were still open at the deadline.
    pub async fn drain(&mut self, deadline: Duration) -> Result<(), Elapsed> {
        self.stop_accepting();
        self.drain.start();
        self.drain.wait(&self.shared.env, deadline).await
    }

    /// Client connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.drain.holds()
    }

    /// Whether every worker thread is alive.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    fn close(&mut self, name: &Name, sockets: &mut Sockets) {
        if let Some(state) = self.listeners.remove(name) {
            self.tell(|| Command::Unlisten(state.address()));
            sockets.close(state.address());
        }
    }

    fn open(
        &mut self,
        plan: &Plan,
        listener: &Listener,
        sockets: &mut Sockets,
    ) -> Result<(), OpenError> {
        if let Some(state) = self.listeners.get(&listener.name) {
            let current = state.settings();
            let same_tls = current.listener.tls == listener.tls;
            let tls = if same_tls {
                current.tls.clone()
            } else {
                self.tls(listener)?
            };
            state.replace(settings(plan, listener, tls));
            return Ok(());
        }
        let tls = self.tls(listener)?;
        let state = ListenerState::new(settings(plan, listener, tls), listener.address);
        self.listen(&state, sockets)
            .map_err(|source| OpenError::Listen {
                listener: listener.name.clone(),
                source,
            })?;
        self.listeners.insert(listener.name.clone(), state);
        Ok(())
    }

    /// Deals the sockets of a listener to the workers.
    fn listen(&self, state: &Arc<ListenerState>, sockets: &mut Sockets) -> Result<(), ListenError> {
        let workers = NonZeroUsize::new(self.seats.len()).unwrap_or(NonZeroUsize::MIN);
        let listening = sockets.listen(state.address(), workers)?;
        state.bind(listening.address);
        for (index, socket) in listening.listeners.into_iter().enumerate() {
            let seat = &self.seats[index % self.seats.len()];
            // A worker that is gone was reported when it went.
            let _told = seat
                .commands
                .send(Command::Listen(Arc::clone(state), socket));
        }
        Ok(())
    }

    fn tls(&self, listener: &Listener) -> Result<Option<Arc<ServerTls>>, OpenError> {
        let Some(tls) = &listener.tls else {
            return Ok(None);
        };
        let settings = ServerSettings {
            certificates: tls.certificates.clone(),
            versions: match (tls.tls12, tls.tls13) {
                (true, false) => Versions::Tls12,
                (false, true) => Versions::Tls13,
                (true, true) | (false, false) => Versions::Both,
            },
            alpn: match (listener.protocols.http1, listener.protocols.http2) {
                (true, false) => Alpn::Http1,
                (false, true) => Alpn::Http2,
                (true, true) | (false, false) => Alpn::Both,
            },
            clients: None,
        };
        match ServerTls::new(&settings, self.shared.env.now()) {
            Ok((tls, concerns)) => {
                for concern in concerns {
                    tracing::warn!(listener = %listener.name, %concern, "a certificate is of concern");
                }
                Ok(Some(Arc::new(tls)))
            }
            Err(problems) => Err(OpenError::Tls {
                listener: listener.name.clone(),
                problems,
            }),
        }
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for seat in self.seats.iter() {
            // A worker that is gone was reported when it went.
            let _told = seat.commands.send(command());
        }
    }
}

fn is_same_address(state: &ListenerState, wanted: &Listener) -> bool {
    state.configured == wanted.address
}

fn settings(plan: &Plan, listener: &Listener, tls: Option<Arc<ServerTls>>) -> Settings {
    Settings {
        listener: Arc::new(listener.clone()),
        tls,
        trusted_proxies: plan.gateway.trusted_proxies.clone().into(),
    }
}
