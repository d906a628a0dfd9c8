//! A foreign registry's protocol on its own port.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use portolan_config::Front;
use portolan_eureka::{Eureka, Parts};
use portolan_registry::Registry;
use portolan_runtime::{Env, sockets::Sockets};
use portolan_wire::serve::Hosts;

use super::listener::{Listener, Wanted};

/// A foreign protocol, and whether its lists may be told.
pub(super) struct Foreign {
    listener: Listener,
    /// Everything that there was to know at the start is known.
    is_warm: Arc<AtomicBool>,
}

impl Foreign {
    /// Eureka's protocol.
    pub(super) fn eureka(registry: &Registry, env: &Env) -> Self {
        let is_warm = Arc::new(AtomicBool::new(false));
        let warm = Arc::clone(&is_warm);
        let front = Eureka::new(Parts {
            registry: registry.clone(),
            env: env.clone(),
            is_warm: Arc::new(move || warm.load(Ordering::Relaxed)),
        });
        Self {
            listener: Listener::new("eureka", Arc::new(front), env.clone()),
            is_warm,
        }
    }

    /// Opens, closes or moves the listener. Another registry may well run beside us: a port
    /// that is taken is left to it.
    pub(super) fn follow(&mut self, front: &Front, sockets: &mut Sockets) {
        let wanted = front.is_enabled.then(|| Wanted {
            address: front.address,
            hosts: Hosts::Named(front.hosts.clone()),
        });
        if let Err(error) = self.listener.follow(wanted, sockets) {
            tracing::warn!(
                error = crate::load::chain(&*error),
                "a foreign registry's protocol is not served"
            );
        }
    }

    /// From now on lists are told, also while the program drains.
    pub(super) fn set_warm(&self) {
        self.is_warm.store(true, Ordering::Relaxed);
    }

    pub(super) const fn listener(&mut self) -> &mut Listener {
        &mut self.listener
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.listener.address()
    }
}
