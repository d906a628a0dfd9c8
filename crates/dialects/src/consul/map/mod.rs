//! Between Consul's services and the model's instances.
//!
//! An instance has the service's name, address, port, tags, labels and weight, and its
//! health is the worst of its checks. Everything else, and each check by itself, stands in
//! a [`Record`], which the instance carries in one metadata pair. Instances that came by
//! another way have no record and are shown as a service with one check.
//!
//! State, by axis: passing and warning are what they are called; starting and critical are
//! critical; what an operator took out has a `_service_maintenance:` check; what the guard
//! holds warns, and what leaves is critical.

mod name;
mod probe;
mod record;
mod view;

pub use self::{
    name::{instance_id, service_key},
    probe::{Means, probe_of},
    record::{Held, RECORD_KEY, Record},
    view::{Home, NodeSeen, Registered},
};
