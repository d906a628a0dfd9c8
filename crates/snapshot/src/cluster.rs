//! An upstream ready to pick from.

use std::sync::Arc;

use portolan_balance::{Balance, BalanceSpec, Pool, SlotTable, Terms};
use portolan_catalog::{Catalog, Service};
use portolan_model::{
    Metadata, Name, ServiceKey,
    route::{Destination, Upstream},
};
use portolan_runtime::Dice;
use portolan_telemetry::Row;

/// Namespace of the services that stand for an upstream's fixed addresses.
pub const FIXED_NAMESPACE: &str = "upstream";

/// What an upstream, narrowed by a target's subset, asks for. Made when the plan changes.
#[derive(Debug)]
pub struct Template {
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// How to balance.
    pub balance: Arc<dyn BalanceSpec>,
    /// The services whose instances it has, in the order of the configuration.
    pub services: Vec<ServiceKey>,
    /// Labels that an instance must have.
    pub subset: Metadata,
    /// Stands for the way its instances are connected to: equal numbers share connections.
    pub transport: u32,
    /// Place of its retry budget in each worker.
    pub budget: u32,
    /// Its row in the metrics.
    pub row: Row,
}

/// An upstream at one revision of the catalogue.
#[derive(Debug)]
pub struct Cluster {
    /// What it was made from.
    pub template: Arc<Template>,
    /// The service that stands first, for records and explanations.
    pub service: ServiceKey,
    /// Its metrics row.
    pub row: Row,
    /// Whether the catalogue knows any of its services.
    pub is_known: bool,
    /// The endpoints.
    pub pool: Pool,
    /// How to pick one.
    pub balance: Box<dyn Balance>,
}

/// Which services an upstream has.
#[must_use]
pub fn services_of(upstream: &Upstream) -> Vec<ServiceKey> {
    match &upstream.destination {
        Destination::Service(key) => vec![key.clone()],
        Destination::Addresses(_) => fixed_service(&upstream.name).into_iter().collect(),
        Destination::Hosts(hosts) => hosts
            .iter()
            .filter_map(|host| host.service_key().ok())
            .collect(),
    }
}

/// The service that stands for the fixed addresses of an upstream.
#[must_use]
pub fn fixed_service(upstream: &Name) -> Option<ServiceKey> {
    let namespace = Name::parse(FIXED_NAMESPACE).ok()?;
    Some(ServiceKey {
        namespace,
        name: upstream.clone(),
    })
}

/// What a cluster is made with besides its template.
pub(crate) struct Builder<'a> {
    pub(crate) slots: &'a mut SlotTable,
    pub(crate) dice: &'a mut Dice,
    pub(crate) workers: usize,
}

impl Builder<'_> {
    /// The cluster of a template in that catalogue.
    pub(crate) fn cluster(&mut self, template: &Arc<Template>, catalog: &Catalog) -> Cluster {
        let found: Vec<&Arc<Service>> = template
            .services
            .iter()
            .filter_map(|key| catalog.service(key))
            .collect();
        let pool = self.pool(template, &found);
        let first = template.services.first();
        Cluster {
            service: first
                .cloned()
                .unwrap_or_else(|| unnamed(&template.upstream.name)),
            row: template.row,
            is_known: !found.is_empty(),
            balance: template.balance.build(&pool, self.workers, self.dice),
            pool,
            template: Arc::clone(template),
        }
    }

    /// The cluster of one service by a template that many services share.
    pub(crate) fn automatic(
        &mut self,
        template: &Arc<Template>,
        service: &Arc<Service>,
        row: Row,
    ) -> Cluster {
        let pool = self.pool(template, &[service]);
        Cluster {
            service: service.key.clone(),
            row,
            is_known: true,
            balance: template.balance.build(&pool, self.workers, self.dice),
            pool,
            template: Arc::clone(template),
        }
    }

    fn pool(&mut self, template: &Template, services: &[&Arc<Service>]) -> Pool {
        let instances = services.iter().flat_map(|service| &service.instances);
        let terms = Terms {
            port: template.upstream.port.as_ref(),
            subset: &template.subset,
        };
        Pool::of(instances, terms, self.slots)
    }
}

fn unnamed(upstream: &Name) -> ServiceKey {
    ServiceKey {
        namespace: upstream.clone(),
        name: upstream.clone(),
    }
}
