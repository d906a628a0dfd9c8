//! What the DNS server is told by others: recursors, and whoever sends updates; and the ways
//! to it that nobody can listen to.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use portolan_config::{
    ControlLimits, Dns as Planned, DnsAlgorithm, DnsRecursors, DnsUpdates, Plan, Security,
};
use portolan_dns::{
    Answerer, Directory, Others,
    secure::Https,
    update::{Algorithm, Key, Registrar, Settings as UpdateSettings, name_of},
};
use portolan_forwarder::{Forwarder, Settings as ForwardSettings, near};
use portolan_registry::Registry;
use portolan_runtime::{Env, sockets::Sockets};
use portolan_wire::serve::{Handler, Hosts};

use super::{
    listener::{Listener, Served, Wanted},
    updates::Registrations,
};

/// Everything about DNS but its own names.
pub(super) struct Beyond {
    env: Env,
    registry: Registry,
    answerer: Answerer,
    directory: Arc<dyn Directory>,
    recursors: Option<(DnsRecursors, u16, Forwarder)>,
    updates: Option<(DnsUpdates, Vec<String>, Registrar)>,
    over_tls: Listener,
    is_over_https: Arc<AtomicBool>,
}

impl Beyond {
    pub(super) fn new(
        env: &Env,
        registry: &Registry,
        answerer: Answerer,
        directory: Arc<dyn Directory>,
    ) -> Self {
        let served = Served::Dns(answerer.clone());
        Self {
            env: env.clone(),
            registry: registry.clone(),
            answerer,
            directory,
            recursors: None,
            updates: None,
            over_tls: Listener::of("dns over tls", served, env.clone()),
            is_over_https: Arc::default(),
        }
    }

    /// That handler, and queries over HTTPS while the plan says so.
    pub(super) fn over_https(&self, others: Arc<dyn Handler>) -> Arc<dyn Handler> {
        let (answerer, is_on) = (self.answerer.clone(), Arc::clone(&self.is_over_https));
        Arc::new(Https::new(answerer, others, is_on))
    }

    /// Who knows what the snapshot does not, as a plan says.
    pub(super) fn others(&mut self, planned: &Planned) -> Others {
        self.follow_recursors(planned);
        self.follow_updates(planned);
        let beyond = self.recursors.as_ref().map(|(.., forwarder)| forwarder);
        let updates = self.updates.as_ref().map(|(.., registrar)| registrar);
        Others {
            beyond: beyond.map(|one| -> Arc<dyn portolan_dns::Beyond> { Arc::new(one.clone()) }),
            updates: updates.map(|one| -> Arc<dyn portolan_dns::Updates> { Arc::new(one.clone()) }),
            directory: Some(Arc::clone(&self.directory)),
        }
    }

    /// Opens, closes or moves the listener as the plan says. A port that is taken is left to
    /// whoever has it.
    pub(super) fn follow(&mut self, plan: &Plan, sockets: &mut Sockets) {
        let dns = &plan.dns;
        let is_on = dns.is_enabled && dns.is_over_https;
        self.is_over_https.store(is_on, Ordering::Relaxed);
        let over_tls = dns.over_tls.as_ref().filter(|_| dns.is_enabled);
        let wanted = over_tls.map(|over_tls| Wanted {
            address: over_tls.address,
            hosts: Hosts::Any,
            security: Some(Security {
                tls: Some(over_tls.tls.clone()),
                limits: ControlLimits {
                    connections_max: u32::try_from(dns.connections_max.get())
                        .ok()
                        .and_then(|count| count.try_into().ok())
                        .unwrap_or(plan.admin.security.limits.connections_max),
                    ..plan.admin.security.limits.clone()
                },
                is_insecure: true,
            }),
        });
        if let Err(error) = self.over_tls.follow(wanted, sockets) {
            let error = crate::load::chain(&*error);
            tracing::warn!(error, "DNS is not served over TLS");
        }
    }

    pub(super) const fn listener(&mut self) -> &mut Listener {
        &mut self.over_tls
    }

    /// The recursors' side, if there is one.
    pub(super) fn forwarder(&self) -> Option<&Forwarder> {
        self.recursors.as_ref().map(|(.., forwarder)| forwarder)
    }

    fn follow_recursors(&mut self, planned: &Planned) {
        let Some(recursors) = &planned.recursors else {
            self.recursors = None;
            return;
        };
        let size = planned.udp_bytes_max;
        let known = self.recursors.as_ref();
        if known.is_some_and(|(known, bytes, _)| known == recursors && *bytes == size) {
            return;
        }
        let settings = ForwardSettings {
            recursors: recursors.addresses.clone(),
            allow: if recursors.clients.is_empty() {
                near()
            } else {
                recursors.clients.clone()
            },
            deadline: recursors.deadline,
            cache: recursors.cache,
            ttl_max: recursors.ttl_max,
            negative_ttl_max: recursors.negative_ttl_max,
            stale: recursors.stale,
            udp_bytes_max: size,
            ..ForwardSettings::default()
        };
        let forwarder = Forwarder::new(settings, self.env.clone());
        self.recursors = Some((recursors.clone(), size, forwarder));
    }

    fn follow_updates(&mut self, planned: &Planned) {
        let Some(updates) = &planned.updates else {
            self.updates = None;
            return;
        };
        let zones = &planned.zones.plain;
        let known = self.updates.as_ref();
        if known.is_some_and(|(known, of, _)| known == updates && of == zones) {
            return;
        }
        let keys = updates.keys.iter().filter_map(|key| {
            let algorithm = match key.algorithm {
                DnsAlgorithm::Sha256 => Algorithm::Sha256,
                DnsAlgorithm::Sha384 => Algorithm::Sha384,
                DnsAlgorithm::Sha512 => Algorithm::Sha512,
            };
            // The configuration has looked at the length.
            let known = Key::new(&name_of(&key.name)?, algorithm, &key.secret).ok()?;
            Some(known.of_services(key.services.clone()))
        });
        let settings = UpdateSettings {
            zones: zones.iter().filter_map(|zone| name_of(zone)).collect(),
            keys: keys.collect(),
            port: updates.port,
        };
        let registrations = Registrations::new(&self.registry, &self.env);
        let shown = Arc::new(self.answerer.clone());
        let registrar = Registrar::new(settings, self.env.clone(), registrations, shown);
        self.updates = Some((updates.clone(), zones.clone(), registrar));
    }
}
