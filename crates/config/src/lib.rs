//! Reads text and stored objects into one checked plan, with findings.
//!
//! Text becomes a tree that knows its places, the tree is checked against the tables
//! of fields, objects are read one by one, and what they say about each other is
//! checked last. An object with an error is set aside and reported; the others apply.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod check;
mod diff;
mod digest;
mod exposure;
mod finding;
mod fold;
mod leaf;
mod names;
mod outside;
mod plan;
mod raw;
mod read;
mod reference;
mod relations;
mod report;
mod schema;
mod settings;
mod substitute;
mod suggest;
mod table;
mod tree;

pub use diff::{Change, Difference, FieldChange, ObjectChange};
pub use digest::Digest;
pub use finding::{Finding, ObjectKind, ObjectRef, Origin, Severity};
pub use fold::{fold, read};
pub use names::{DnsAlgorithm, DnsKey, DnsOverTls, DnsRecursors, DnsUpdates};
pub use outside::{Outside, Shelves};
pub use plan::{Described, Plan, PlannedPolicy, PlannedRoute, PlannedSource, PlannedUpstream};
pub use raw::{RawObjects, StoredObject};
pub use reference::reference_markdown;
pub use schema::schema;
pub use settings::{
    Access, AccessLog, Admin, Automatic, CONNECTIONS_PER_CLIENT, Checks, ClientTimeouts,
    ControlLimits, ControlTls, DeclaredToken, Dns, DnsRate, DnsZones, Front, Gateway, Limits,
    Listener, ListenerTls, LogFormat, LogPath, Protocols, ProxyHeader, REQUESTS_PER_CLIENT,
    Registry, Security, Status,
};
pub use substitute::SCALAR_BYTES_MAX;
pub use tree::{DEPTH_MAX, NODES_MAX, TEXT_BYTES_MAX};

/// A commented file to start from, as `portolan init` writes it.
pub const STARTING_FILE: &str = include_str!("starting.yaml");

#[cfg(test)]
mod tests;
