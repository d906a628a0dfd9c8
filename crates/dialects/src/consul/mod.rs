//! The HTTP API of Consul: what is sent to it, what it answers, and what of it the model has.
//!
//! Consul reads tolerantly (names of fields in any case, with or without underscores;
//! spans as Go writes them or in nanoseconds) and answers exactly (a list is never
//! `null`). Errors are plain texts, and clients look at some of them, so a [`Refusal`]
//! is a status and a text.
//!
//! What the model has no place for is kept with the instance, in one metadata pair under
//! [`RECORD_KEY`], which no client of Consul can write: it survives whatever the instance
//! survives, and every reader of the catalogue can tell what was registered.
//! Source: the Consul HTTP API, version 1.20.

pub mod answer;
pub mod blocking;
mod body;
mod duration;
mod loose;
mod map;
mod parameters;
mod path;
mod refusal;
#[cfg(test)]
mod tests;
mod token;

pub use portolan_expression::bexpr as filter;

pub use self::{
    body::{
        AclPolicyBody, AclTokenBody, CatalogDeparture, CatalogOperation, CatalogPart,
        CatalogRegistration, CatalogVerb, CheckDefinition, CheckKind, CheckTls, CheckUpdate,
        KvOperation, KvVerb, Locality, Maintenance, NodeDefinition, PolicyLink, QueryService,
        QueryTemplate, SavedQuery, ServiceDefinition, SessionBehavior, SessionDefinition,
        TaggedAddress, TxnOperation, Weights, read_txn,
    },
    duration::{parse_duration, write_duration},
    map::{
        Found, Home, NodeSeen, RECORD_KEY, Record, Registered, instance_id, is_node, node_key,
        probe_id, probe_of, service_key,
    },
    parameters::{Consistency, KvParameters, Parameters},
    path::{AclPlace, AgentPlace, CatalogPlace, HealthPlace, Place, Sane},
    refusal::Refusal,
    token::{Token, token_of},
};
