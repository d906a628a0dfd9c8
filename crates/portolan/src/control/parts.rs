//! Parts of the control plane, as they are made of others.

use std::sync::Arc;

use portolan_admin::{Admin, Readiness, Status};
use portolan_catalog::{Inbox, Pulses, Witness};
use portolan_config::Plan;
use portolan_model::NodeId;
use portolan_registry::{
    Desk, Orders, Parts as RegistryParts, Reader, Registry, Stored,
    check::Checks,
    core::Bounds,
    front::native::{Links, Native, Parts as NativeParts},
    watch::Hub,
};
use portolan_runtime::{Env, drain::DrainWatch};
use portolan_snapshot::View;
use portolan_wire::serve::{Handler, Hosts};

use super::{
    gates::Gates,
    listener::{Listener, Wanted},
    ports::{Asker, Metrics},
    signed::Signed,
};
use crate::store::Store;

/// The listener that says how the program is.
pub(super) fn status(view: &View, readiness: &Readiness, env: &Env) -> Listener {
    let status = Arc::new(Status::new(view.clone(), readiness.clone()));
    Listener::new("status", status, env.clone())
}

/// The native front.
pub(super) fn native(
    registry: &Registry,
    (hub, checks): (Hub, Checks),
    pulses: Pulses,
    (links, drain): (Links, DrainWatch),
    env: &Env,
) -> Native {
    Native::new(NativeParts {
        registry: registry.clone(),
        hub,
        checks,
        pulses,
        links,
        drain,
        env: env.clone(),
    })
}

/// The registry, with what it is bound by.
pub(super) fn registry(
    env: &Env,
    plan: &Plan,
    witness: Arc<dyn Witness>,
    (inbox, reader): (Inbox, Arc<dyn Reader>),
    stored: Option<Stored>,
) -> (Registry, Desk, Orders) {
    Registry::new(RegistryParts {
        env: env.clone(),
        inbox,
        bounds: bounds(plan),
        witness,
        reader,
        stored,
    })
}

/// The admin API, with the native front under it.
pub(super) fn admin(
    (view, readiness): (&View, &Readiness),
    (metrics, registry): (Metrics, impl Handler + 'static),
    asker: Asker,
    store: &Store,
) -> Admin {
    Admin::new(portolan_admin::Parts {
        view: view.clone(),
        readiness: readiness.clone(),
        metrics: Arc::new(metrics),
        reload: Arc::new(asker),
        backup: Arc::new(store.backups()),
        registry: Arc::new(registry),
    })
}

/// The admin API behind its gate, its answers signed.
pub(super) fn signed(gates: &Gates, admin: Admin, node: &NodeId) -> Arc<dyn Handler> {
    Arc::new(Signed::new(Arc::new(gates.admin(Arc::new(admin))), node))
}

/// What a plan asks of the control listeners: admin, and status if it is wanted.
pub(super) fn wanted(plan: &Plan) -> (Wanted, Option<Wanted>) {
    let admin = Wanted {
        address: plan.admin.address,
        hosts: Hosts::Named(plan.admin.hosts.clone()),
        security: Some(plan.admin.security.clone()),
    };
    let status = plan.status.as_ref().map(|status| Wanted {
        address: status.address,
        hosts: Hosts::Any,
        security: None,
    });
    (admin, status)
}

pub(super) fn bounds(plan: &Plan) -> Bounds {
    let registry = &plan.registry;
    Bounds {
        ttl_default: registry.ttl_default,
        ttl_min: registry.ttl_min,
        ttl_max: registry.ttl_max,
        instances_max: registry.instances_max.get(),
    }
}
