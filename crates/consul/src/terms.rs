//! The words of the book: which service or check, what was touched, which nodes.

use std::collections::BTreeMap;

use portolan_dialects::consul::{Held, NodeDefinition, Record};

/// A service or check by its id, which is unique on a node; no node is the agent's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) node: Option<String>,
    pub(super) id: String,
}

impl Key {
    pub(super) fn new(node: Option<&str>, id: &str) -> Self {
        Self {
            node: node.map(str::to_owned),
            id: id.to_owned(),
        }
    }

    pub(super) fn of(record: &Record) -> Self {
        Self::new(record.node.as_deref(), &record.service.id)
    }
}

/// What has to be told to the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// This service is different.
    Service(Key),
    /// Nodes and checks of nodes are different; those that are named must outlive the process.
    Node(Vec<Fact>),
    /// Nobody sees anything else, but what is named must be stored before anybody is told.
    Kept(Vec<Fact>),
    /// Nothing that readers must see now.
    Nothing,
}

/// What must outlive the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// A node, by its name.
    Node(String),
    /// A check of a node.
    Check(Key),
}

/// Nodes and their checks, as readers see them.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    /// Those that were registered by hand, and the index of their last change.
    pub(super) known: BTreeMap<String, (NodeDefinition, u64)>,
    /// Checks that are of no service.
    pub(super) checks: BTreeMap<Key, Held>,
    /// The index of the last change.
    pub(super) index: u64,
}
