//! Fixed addresses of the configuration, as instances.

use std::sync::Arc;

use portolan_config::Plan;
use portolan_model::{
    Change, Instance, InstanceId, Name, NamedPort, SourceId, State, Weight, route::Destination,
};

use crate::cluster::fixed_service;

/// The instances that stand for the fixed addresses of a plan's upstreams.
pub(super) fn fixed_instances(plan: &Plan, source: &SourceId) -> Change {
    let mut services = Vec::new();
    let mut instances = Vec::new();
    for planned in &plan.upstreams {
        let Destination::Addresses(addresses) = &planned.upstream.destination else {
            continue;
        };
        let Some(key) = fixed_service(&planned.upstream.name) else {
            continue;
        };
        for address in addresses {
            // An address and a port are letters an id may have.
            let Ok(id) = InstanceId::parse(&address.to_string()) else {
                continue;
            };
            let Ok(port) = Name::parse("default") else {
                continue;
            };
            instances.push(Arc::new(Instance {
                key: key.clone(),
                id,
                endpoints: Box::new([NamedPort {
                    name: port,
                    address: *address,
                }]),
                zone: None,
                version: None,
                weight: Weight::NORMAL,
                tags: Box::default(),
                metadata: [].into(),
                source: source.clone(),
                state: State::default(),
            }));
        }
        services.push(key);
    }
    Change::Reset {
        services,
        instances,
    }
}
