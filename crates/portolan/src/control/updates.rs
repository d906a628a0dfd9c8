//! Dynamic updates of DNS, as registrations.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use portolan_dialects::native::Described;
use portolan_dns::update::{
    Doing, LEASE_LABEL, NotDone, RECORD_LABEL, Registered, Registrations as Port,
};
use portolan_model::{Health, Instance, InstanceId, Name, NamedPort, ServiceKey, State};
use portolan_registry::{
    Registry, RegistryError,
    core::{Refusal, Subject},
};
use portolan_runtime::{Env, Task};

/// How long requests to an instance that is deleted may take to end, as with other registries'
/// protocols.
const DRAIN: Duration = Duration::from_secs(2);
/// How often those without a lease are kept alive: nobody else sends heartbeats for them.
const ROUND: Duration = Duration::from_secs(2);
/// How long they outlive a Portolan that does not do so; what the registry allows at most
/// holds instead.
const TTL: Duration = Duration::from_hours(1);
/// Heartbeats that are told together.
const RENEWED_MAX: usize = 1000;
/// The name of an instance's only port.
const ONLY_PORT: &str = "default";

/// The registry as updates change it. Dropping it ends the heartbeats.
pub(super) struct Registrations {
    registry: Registry,
    _keeper: Task,
}

impl Registrations {
    pub(super) fn new(registry: &Registry, env: &Env) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            registry: registry.clone(),
            _keeper: env.spawn("dns updates", keep(Weak::clone(this), env.clone())),
        })
    }

    /// Registers, for as long as the registry's bounds allow if they are narrower.
    async fn keep(
        &self,
        actor: Arc<str>,
        mut described: Described,
    ) -> Result<Duration, RegistryError> {
        let registered = self
            .registry
            .register(Some(Arc::clone(&actor)), described.clone())
            .await;
        let registered = match registered {
            Err(RegistryError::Refused(Refusal::Ttl { min, max })) => {
                described.ttl = described.ttl.map(|ttl| ttl.clamp(min, max));
                self.registry.register(Some(actor), described).await
            }
            registered => registered,
        };
        registered.map(|kept| kept.ttl)
    }

    fn is_ours(&self, instance: &Instance) -> bool {
        instance.source == *self.registry.source() && instance.metadata.contains_key(RECORD_LABEL)
    }

    /// Those that nobody else keeps alive.
    fn kept(&self) -> Vec<Subject> {
        let catalog = self.registry.reader().catalog();
        let instances = catalog
            .services()
            .flat_map(|service| service.instances.iter());
        let kept =
            instances.filter(|one| self.is_ours(one) && !one.metadata.contains_key(LEASE_LABEL));
        kept.map(|one| Subject {
            key: one.key.clone(),
            id: one.id.clone(),
        })
        .collect()
    }
}

/// Sends heartbeats until the registry has ended.
async fn keep(registrations: Weak<Registrations>, env: Env) {
    loop {
        env.sleep(ROUND).await;
        let Some(registrations) = registrations.upgrade() else {
            return;
        };
        for some in registrations.kept().chunks(RENEWED_MAX) {
            let renewed = registrations.registry.renew_all(some.to_vec()).await;
            if matches!(renewed, Err(RegistryError::Stopped)) {
                return;
            }
        }
    }
}

impl Port for Registrations {
    fn registered(&self, service: &ServiceKey) -> Vec<Registered> {
        let catalog = self.registry.reader().catalog();
        let service = catalog.service(service).into_iter();
        let ours = service
            .flat_map(|service| service.instances.iter())
            .filter(|one| self.is_ours(one) && !one.state.leaving);
        ours.filter_map(|one| {
            Some(Registered {
                id: one.id.clone(),
                address: one.address(None)?,
                weight: one.weight,
                metadata: one.metadata.clone(),
            })
        })
        .collect()
    }

    fn is_others(&self, service: &ServiceKey, id: &InstanceId) -> bool {
        let catalog = self.registry.reader().catalog();
        let service = catalog.service(service);
        service.is_some_and(|service| {
            let mut instances = service.instances.iter();
            instances.any(|one| one.id == *id && !self.is_ours(one))
        })
    }

    fn register(
        &self,
        actor: Arc<str>,
        service: ServiceKey,
        instance: Registered,
        lease: Option<Duration>,
    ) -> Doing<'_, Duration> {
        Box::pin(async move {
            let name =
                Name::parse(ONLY_PORT).map_err(|error| NotDone::Refused(error.to_string()))?;
            let described = Described {
                instance: Instance {
                    key: service,
                    id: instance.id,
                    endpoints: Box::new([NamedPort {
                        name,
                        address: instance.address,
                    }]),
                    zone: None,
                    version: None,
                    weight: instance.weight,
                    tags: Box::default(),
                    metadata: instance.metadata,
                    source: self.registry.source().clone(),
                    state: State::default(),
                },
                ttl: Some(lease.unwrap_or(TTL)),
                check: None,
                status: Some(Health::Passing),
                note: None,
            };
            self.keep(actor, described).await.map_err(not_done)
        })
    }

    fn deregister(&self, actor: Arc<str>, service: ServiceKey, id: InstanceId) -> Doing<'_> {
        Box::pin(async move {
            let subject = Subject { key: service, id };
            let left = self
                .registry
                .deregister(Some(actor), subject, Some(DRAIN))
                .await;
            match left {
                Ok(_) => Ok(()),
                // It is gone, but maybe since a moment ago only.
                Err(RegistryError::Unknown) => self.settled().await,
                Err(error) => Err(not_done(error)),
            }
        })
    }

    fn settled(&self) -> Doing<'_> {
        Box::pin(async move { self.registry.caught_up().await.map_err(not_done) })
    }
}

fn not_done(error: RegistryError) -> NotDone {
    match error {
        RegistryError::Refused(refusal) => NotDone::Refused(refusal.to_string()),
        RegistryError::Unknown
        | RegistryError::NoRuling
        | RegistryError::NotStored(_)
        | RegistryError::Stopped => NotDone::Failed(crate::load::chain(&error)),
    }
}
