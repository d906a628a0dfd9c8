//! A listener as all workers share it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use portolan_config::Listener;
use portolan_wire::tls::ServerTls;

/// A listener. Its settings may change while its sockets stay.
#[derive(Debug)]
pub struct ListenerState {
    /// Where it listens, once it does: the port may have been the system's choice.
    bound: OnceLock<SocketAddr>,
    /// Where it was told to listen: the same but for port 0.
    pub configured: SocketAddr,
    current: ArcSwap<Settings>,
    /// Connections open, over all workers.
    open: AtomicU32,
}

/// What a connection takes from its listener when it is accepted.
#[derive(Debug)]
pub struct Settings {
    /// The listener as configured.
    pub listener: Arc<Listener>,
    /// Its TLS, if any.
    pub tls: Option<Arc<ServerTls>>,
    /// The proxies whose word about the client is believed.
    pub trusted_proxies: Arc<[IpNet]>,
}

/// A place among the connections of a listener; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place(Arc<ListenerState>);

impl ListenerState {
    pub(crate) fn new(settings: Settings, configured: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            bound: OnceLock::new(),
            configured,
            current: ArcSwap::from_pointee(settings),
            open: AtomicU32::new(0),
        })
    }

    /// Where it listens, or is to listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        *self.bound.get().unwrap_or(&self.configured)
    }

    pub(crate) fn bind(&self, address: SocketAddr) {
        // Sockets that are asked for again are the same ones.
        let _first = self.bound.set(address);
    }

    /// The settings of the moment.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.current.load_full()
    }

    pub(crate) fn replace(&self, settings: Settings) {
        self.current.store(Arc::new(settings));
    }

    /// A place for one connection more, if the limit allows it.
    pub(crate) fn place(self: &Arc<Self>, settings: &Settings) -> Option<Place> {
        let open = self.open.fetch_add(1, Relaxed);
        let place = Place(Arc::clone(self));
        (open < settings.listener.limits.connections_max.get()).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
