//! Foreign registries' protocols, each on its own port.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use portolan_config::{Front, Registry as RegistrySettings};
use portolan_consul::{Consul, Keeper, Settings};
use portolan_dialects::consul::{Home, NodeDefinition};
use portolan_eureka::{Eureka, Parts};
use portolan_ledger::Ledger;
use portolan_model::{ByteSize, NodeId};
use portolan_registry::{Registry, check::Checks, watch::Hub};
use portolan_runtime::{Env, drain::DrainWatch, sockets::Sockets};
use portolan_wire::serve::{Handler, Hosts};
use rustix::system::uname;

use super::{
    gates::Gates,
    listener::{Listener, Wanted},
    probing::Probing,
    signed::Signed,
};

/// The datacenter that clients of Consul are told.
const DATACENTER: &str = "dc1";

/// All foreign protocols.
pub(super) struct Fronts {
    eureka: Foreign,
    consul: Foreign,
    /// Consul's API as the program itself asks it.
    own: Arc<dyn Handler>,
    /// Everything that there was to know at the start is known.
    is_warm: Arc<AtomicBool>,
}

/// A foreign protocol's listener.
struct Foreign(Listener);

impl Fronts {
    /// All of them, with no listener open yet, and the task behind Consul's.
    pub(super) fn new(
        (registry, ledger): (&Registry, &Ledger),
        hub: &Hub,
        (checks, probing): (&Checks, &Probing),
        drain: DrainWatch,
        (env, gates, node): (&Env, &Gates, &NodeId),
    ) -> (Self, Keeper) {
        let is_warm = Arc::new(AtomicBool::new(false));
        let warm = Arc::clone(&is_warm);
        let eureka = Eureka::new(Parts {
            registry: registry.clone(),
            env: env.clone(),
            is_warm: Arc::new(move || warm.load(Ordering::Relaxed)),
        });
        let (consul, keeper) = Consul::new(Settings {
            registry: registry.clone(),
            hub: hub.clone(),
            checks: checks.clone(),
            programs: probing.programs(),
            ledger: ledger.clone(),
            drain,
            env: env.clone(),
            home: home(),
            access: gates.access().clone(),
        });
        let consul = Arc::new(consul);
        let own: Arc<dyn Handler> = Arc::<Consul>::clone(&consul);
        let signed = |handler| -> Arc<dyn Handler> { Arc::new(Signed::new(handler, node)) };
        let eureka = signed(Arc::new(gates.eureka(Arc::new(eureka))));
        let consul = signed(Arc::new(gates.consul(consul)));
        let fronts = Self {
            eureka: Foreign::new("eureka", eureka, env),
            // A snapshot that comes back is large; everything else the front bounds itself.
            consul: Foreign::new("consul", consul, env).with_bodies(portolan_consul::BODY_MAX),
            own,
            is_warm,
        };
        (fronts, keeper)
    }

    /// Opens, closes or moves the listeners as the configuration says.
    pub(super) fn follow(&mut self, settings: &RegistrySettings, sockets: &mut Sockets) {
        self.eureka.follow(&settings.eureka, sockets);
        self.consul.follow(&settings.consul, sockets);
    }

    /// Consul's API for the program itself, which may read everything.
    pub(super) fn consul(&self) -> Arc<dyn Handler> {
        Arc::clone(&self.own)
    }

    /// From now on lists are told, also while the program drains.
    pub(super) fn set_warm(&self) {
        self.is_warm.store(true, Ordering::Relaxed);
    }

    pub(super) const fn listeners(&mut self) -> [&mut Listener; 2] {
        [&mut self.eureka.0, &mut self.consul.0]
    }

    /// Where clients of Eureka are served, if they are.
    pub(super) fn eureka_address(&self) -> Option<SocketAddr> {
        self.eureka.0.address()
    }

    /// Where clients of Consul are served, if they are.
    pub(super) fn consul_address(&self) -> Option<SocketAddr> {
        self.consul.0.address()
    }
}

impl Foreign {
    fn new(name: &'static str, handler: Arc<dyn Handler>, env: &Env) -> Self {
        Self(Listener::new(name, handler, env.clone()))
    }

    fn with_bodies(self, body: ByteSize) -> Self {
        Self(self.0.with_bodies(body))
    }

    /// Opens, closes or moves the listener. Another registry may well run beside us: a port
    /// that is taken is left to it.
    fn follow(&mut self, front: &Front, sockets: &mut Sockets) {
        let wanted = front.is_enabled.then(|| Wanted {
            address: front.address,
            hosts: Hosts::Named(front.hosts.clone()),
            security: Some(front.security.clone()),
        });
        if let Err(error) = self.0.follow(wanted, sockets) {
            tracing::warn!(
                error = crate::load::chain(&*error),
                "a foreign registry's protocol is not served"
            );
        }
    }
}

/// The one agent and its node, named as the machine is.
fn home() -> Home {
    let name = uname();
    let name = name.nodename().to_str().unwrap_or_default();
    let name = if name.is_empty() { "portolan" } else { name };
    Home {
        node: NodeDefinition {
            id: node_id(name),
            name: name.to_owned(),
            address: "127.0.0.1".to_owned(),
            ..NodeDefinition::default()
        },
        datacenter: DATACENTER.into(),
    }
}

/// A UUID that stays the same for a name (RFC 9562, section 5.8).
fn node_id(name: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    uuid::Builder::from_custom_bytes(bytes)
        .into_uuid()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_id_and_it_is_a_uuid() {
        let id = node_id("here");
        assert_eq!(id, node_id("here"));
        assert_ne!(id, node_id("there"));
        let parts: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(id.as_bytes()[14], b'8', "the version of RFC 9562");
    }
}
