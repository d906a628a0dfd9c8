//! Reads text and stored objects into one checked plan, with findings.
//!
//! Text becomes a tree that knows its places, the tree is checked against the tables
//! of fields, objects are read one by one, and what they say about each other is
//! checked last. An object with an error is set aside and reported; the others apply.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod digest;
mod finding;
mod plan;
mod settings;

pub use digest::Digest;
pub use finding::{Finding, ObjectKind, ObjectRef, Origin, Severity};
pub use plan::{Described, Plan, PlannedPolicy, PlannedRoute, PlannedSource, PlannedUpstream};
pub use settings::{
    AccessLog, Admin, Automatic, ClientTimeouts, Gateway, Limits, Listener, ListenerTls, LogFormat,
    LogPath, Protocols, ProxyHeader, Registry, Status,
};
