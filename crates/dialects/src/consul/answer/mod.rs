//! What is answered, with the names that clients know. Lists and maps are never `null`.

mod agent;
mod check;
mod ledger;
mod node;
mod service;

pub use self::{
    agent::{Itself, ItselfConfig, Member},
    check::{CheckView, status_name},
    ledger::{EventView, KvView, LinkView, PolicyView, ServiceCheck, SessionView, TokenView},
    node::NodeView,
    service::{AgentServiceView, CatalogRow, HealthEntry, NodeServices, ServiceView},
};

/// The revision as both of an object's indexes: the catalogue keeps one for each service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Indexes {
    /// When it was made.
    pub create_index: u64,
    /// When it changed last.
    pub modify_index: u64,
}

impl Indexes {
    /// Both the same.
    #[must_use]
    pub const fn at(index: u64) -> Self {
        Self {
            create_index: super::blocking::shown(index),
            modify_index: super::blocking::shown(index),
        }
    }
}
