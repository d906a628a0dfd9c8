//! One control listener, which follows what the plan says of it.

use std::{
    error::Error,
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
};

use portolan_config::{CONNECTIONS_PER_CLIENT, ControlLimits, ControlTls, Security};
use portolan_dns::{
    Answerer,
    secure::{TlsSettings, serve_tls},
};
use portolan_model::ByteSize;
use portolan_runtime::{
    Env, Task,
    drain::{Drain, DrainWatch},
    sockets::Sockets,
};
use portolan_wire::{
    serve::{Handler, Hosts, Limits, PerClient, Settings, serve},
    tls::{Alpn, ClientAuthority, Demand, ServerSettings, ServerTls, TlsFileError, Versions},
};

/// What a plan asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) address: SocketAddr,
    pub(super) hosts: Hosts,
    /// Plain text and the usual limits without it.
    pub(super) security: Option<Security>,
}

/// What is spoken on a listener.
#[derive(Clone)]
pub(super) enum Served {
    /// HTTP, answered by this handler.
    Http(Arc<dyn Handler>),
    /// DNS over TLS.
    Dns(Answerer),
}

/// A listener and who answers on it.
pub(super) struct Listener {
    name: &'static str,
    served: Served,
    /// What its protocol asks for at least in a body.
    body: ByteSize,
    env: Env,
    open: Option<Open>,
}

struct Open {
    wanted: Wanted,
    /// Where it listens indeed.
    address: SocketAddr,
    tls: Option<Arc<ServerTls>>,
    drain: Drain,
    tasks: Vec<Task>,
    is_accepting: bool,
}

impl Listener {
    pub(super) fn new(name: &'static str, handler: Arc<dyn Handler>, env: Env) -> Self {
        Self::of(name, Served::Http(handler), env)
    }

    pub(super) fn of(name: &'static str, served: Served, env: Env) -> Self {
        Self {
            name,
            served,
            body: ByteSize::from_bytes(0),
            env,
            open: None,
        }
    }

    /// Whatever is configured, its bodies may be so large.
    pub(super) fn with_bodies(self, body: ByteSize) -> Self {
        Self { body, ..self }
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
        let security = wanted.security.as_ref();
        let tls = security.and_then(|security| security.tls.as_ref());
        let tls = tls.map(|tls| self.tls(tls)).transpose()?.map(Arc::new);
        let listening = sockets
            .listen(address, NonZeroUsize::MIN)
            .map_err(|error| format!("{}: {error}", self.name))?;
        let drain = Drain::new();
        let settings = Settings {
            limits: match security {
                Some(security) => limits(&security.limits, self.body),
                None => Limits::default(),
            },
            hosts: wanted.hosts.clone(),
            tls: tls.clone(),
        };
        let serve_one = |socket| {
            let (served, settings) = (self.served.clone(), settings.clone());
            let (watch, env, name) = (drain.watch(), self.env.clone(), self.name);
            self.env.spawn("control listener", async move {
                if let Err(error) = served.serve(socket, settings, watch, env).await {
                    tracing::error!(%error, listener = name, "a control listener can't serve");
                }
            })
        };
        let tasks = listening.listeners.into_iter().map(serve_one).collect();
        Ok(Open {
            wanted,
            address: listening.address,
            tls,
            drain,
            tasks,
            is_accepting: true,
        })
    }

    /// Reads the certificates again; bad ones leave what was.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub(super) fn reload_certificates(&self) -> Result<(), Vec<TlsFileError>> {
        let Some(tls) = self.open.as_ref().and_then(|open| open.tls.as_ref()) else {
            return Ok(());
        };
        let (_, concerns) = tls.reload(self.env.now())?;
        for concern in concerns {
            tracing::warn!(%concern, listener = self.name, "a certificate is of concern");
        }
        Ok(())
    }

    fn tls(&self, tls: &ControlTls) -> Result<ServerTls, String> {
        let settings = ServerSettings {
            certificates: tls.served.certificates.clone(),
            versions: match (tls.served.tls12, tls.served.tls13) {
                (true, false) => Versions::Tls12,
                (false, true) => Versions::Tls13,
                (_, _) => Versions::Both,
            },
            alpn: match self.served {
                Served::Http(_) => Alpn::Both,
                Served::Dns(_) => Alpn::Dot,
            },
            clients: tls.client_ca.as_ref().map(|file| ClientAuthority {
                file: file.clone(),
                demand: if tls.is_certificate_optional {
                    Demand::Optional
                } else {
                    Demand::Required
                },
            }),
        };
        let made = ServerTls::new(&settings, self.env.now());
        let (tls, concerns) = made.map_err(|errors| {
            let texts: Vec<_> = errors
                .iter()
                .map(|error| crate::load::chain(error))
                .collect();
            format!("{}: {}", self.name, texts.join("; "))
        })?;
        for concern in concerns {
            tracing::warn!(%concern, listener = self.name, "a certificate is of concern");
        }
        Ok(tls)
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

impl Served {
    async fn serve(
        self,
        socket: TcpListener,
        settings: Settings,
        drain: DrainWatch,
        env: Env,
    ) -> io::Result<()> {
        match (self, settings.tls.clone()) {
            (Self::Http(handler), _) => serve(socket, handler, settings, drain, env).await,
            (Self::Dns(answerer), Some(tls)) => {
                let settings = TlsSettings {
                    tls,
                    connections_max: settings.limits.connections,
                    per_client: settings.limits.connections_per_client,
                };
                serve_tls(socket, answerer, settings, drain, env).await
            }
            // The configuration demands certificates.
            (Self::Dns(_), None) => Ok(()),
        }
    }
}

/// What a client may cost, as the configuration has it.
fn limits(limits: &ControlLimits, body: ByteSize) -> Limits {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let own = limits.connections_per_client.map(std::num::NonZeroU32::get);
    Limits {
        head: limits.head_max,
        headers: count(limits.headers_max),
        body: limits.body_max.max(body),
        connections: count(limits.connections_max.get()),
        connections_per_client: PerClient {
            limit: count(own.unwrap_or(CONNECTIONS_PER_CLIENT)),
            includes_this_machine: own.is_some(),
        },
        ..Limits::default()
    }
}
