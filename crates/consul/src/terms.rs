//! The words of the book: which service or check, what was touched, which nodes.

use std::collections::BTreeMap;

use portolan_dialects::consul::{NodeDefinition, Record};

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

/// What a record is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    /// A service.
    Service(Key),
    /// A check of a node itself.
    NodeCheck(Key),
}

impl Holder {
    pub(super) fn of(record: &Record) -> Self {
        match record.checks.first() {
            Some(check) if record.is_node() => {
                Self::NodeCheck(Key::new(record.node.as_deref(), &check.id))
            }
            Some(_) | None => Self::Service(Key::of(record)),
        }
    }
}

/// What has to be told to the registry and the ledger.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Touched {
    /// This service has other checks.
    Checks(Key),
    /// A node has this check.
    NodeCheck(Key),
    /// A check of a node has gone.
    Gone(Box<Record>),
    /// Nodes are different; those that are named must outlive the process.
    Node(Vec<Fact>),
    /// Nobody sees anything else, but what is named must be stored before anybody is told.
    Kept(Vec<Fact>),
}

/// What the ledger keeps of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// A node, by its name.
    Node(String),
    /// A check of a node.
    Check(Key),
}

/// What becomes of checks of nodes that the ledger does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// They stay: a predecessor may have had no ledger that outlives it.
    Stay,
    /// They go: the ledger was told of every one since.
    Go,
}

/// Nodes, as readers see them.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    /// Those that were registered by hand, and the index of their last change.
    pub(super) known: BTreeMap<String, (NodeDefinition, u64)>,
    /// The index of the last change of a node or one of its checks.
    pub(super) index: u64,
}
