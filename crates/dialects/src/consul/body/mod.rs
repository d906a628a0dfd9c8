//! What clients send.

mod acl;
mod catalog;
mod check;
mod meta;
mod query;
mod service;
mod session;
mod txn;

pub use self::{
    acl::{AclPolicyBody, AclTokenBody, PolicyLink},
    catalog::{CatalogDeparture, CatalogRegistration, NodeDefinition},
    check::{CheckDefinition, CheckKind, CheckTls, CheckUpdate},
    query::{QueryService, QueryTemplate, SavedQuery},
    service::{Locality, Maintenance, ServiceDefinition, TaggedAddress, Weights},
    session::{SessionBehavior, SessionDefinition},
    txn::{
        CatalogOperation, CatalogPart, CatalogVerb, KvOperation, KvVerb, TxnOperation, read_txn,
    },
};
