//! Between Consul's services and the model's instances.
//!
//! An instance has the service's name, address, port, tags, labels and weight, and its
//! checks as probes; its health is the worst of them. Everything else, and how each check
//! was defined, stands in a [`Record`], which the instance carries in one metadata pair.
//! Instances that came by another way have no record and are shown as a service with one
//! check. A check of a node itself is an instance, too, of the service that stands for the
//! node, in a namespace that clients of Consul don't see.
//!
//! State, by axis: passing and warning are what they are called; starting and critical are
//! critical; what an operator took out has a `_service_maintenance:` check; what the guard
//! holds warns, and what leaves is critical.

mod name;
mod probe;
mod record;
mod view;

pub use self::{
    name::{instance_id, is_node, node_key, probe_id, service_key},
    probe::probe_of,
    record::{RECORD_KEY, Record},
    view::{Found, Home, NodeSeen, Registered},
};
