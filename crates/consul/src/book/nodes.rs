//! Nodes in the book, and their checks.

use std::{collections::BTreeMap, sync::Arc};

use portolan_dialects::consul::{Held, NodeDefinition, Refusal};

use super::Book;
use crate::terms::{Fact, Key, Nodes, Touched};

/// Most nodes that are registered by hand.
pub(super) const NODES_MAX: usize = 65_536;
/// Most checks of nodes.
const NODE_CHECKS_MAX: usize = 65_536;

impl Book {
    pub(super) fn add_node_check(
        &mut self,
        now: u64,
        check: &Key,
        held: &Held,
    ) -> Result<Touched, Refusal> {
        let nodes = Arc::make_mut(&mut self.nodes);
        if nodes.checks.len() >= NODE_CHECKS_MAX && !nodes.checks.contains_key(check) {
            let text = format!("there are {NODE_CHECKS_MAX} checks of nodes already");
            return Err(Refusal::failed(text));
        }
        nodes.checks.insert(check.clone(), held.clone());
        self.arm(now, check, held);
        Ok(Touched::Node(vec![Fact::Check(check.clone())]))
    }

    /// Takes in what a check said to whoever registered it.
    pub(crate) fn note(&mut self, check: &Key, output: &str) {
        let held = match self.checks.get(check) {
            Some(service) => {
                let entry = self.services.get_mut(service);
                entry.and_then(|entry| entry.record.check_mut(&check.id))
            }
            None => Arc::make_mut(&mut self.nodes).checks.get_mut(check),
        };
        if let Some(held) = held {
            held.hear(held.status, output);
        }
    }

    /// A node is registered by hand.
    pub(crate) fn put_node(&mut self, node: NodeDefinition, index: u64) -> Result<(), Refusal> {
        let nodes = Arc::make_mut(&mut self.nodes);
        if nodes.known.len() >= NODES_MAX && !nodes.known.contains_key(&node.name) {
            let text = format!("there are {NODES_MAX} nodes already");
            return Err(Refusal::failed(text));
        }
        nodes.known.insert(node.name.clone(), (node, index));
        Ok(())
    }

    /// A node goes, with its checks.
    pub(crate) fn remove_node(&mut self, name: &str) -> Touched {
        let on_it = |key: &&Key| key.node.as_deref() == Some(name);
        let checks: Vec<_> = self.nodes.checks.keys().filter(on_it).cloned().collect();
        let nodes = Arc::make_mut(&mut self.nodes);
        nodes.known.remove(name);
        for check in &checks {
            nodes.checks.remove(check);
        }
        for check in &checks {
            self.disarm(check);
        }
        let mut facts: Vec<_> = checks.into_iter().map(Fact::Check).collect();
        facts.push(Fact::Node(name.to_owned()));
        Touched::Node(facts)
    }

    /// The services that are on a node.
    pub(crate) fn services_on(&self, name: &str) -> Vec<Key> {
        let on_it = |key: &&Key| key.node.as_deref() == Some(name);
        self.services.keys().filter(on_it).cloned().collect()
    }

    /// Nodes and checks are now these. A check that is known already goes on as it is.
    pub(crate) fn set_nodes(
        &mut self,
        now: u64,
        known: BTreeMap<String, (NodeDefinition, u64)>,
        checks: BTreeMap<Key, Held>,
    ) {
        let before = Arc::clone(&self.nodes);
        let mut all = Nodes {
            known,
            checks,
            index: before.index,
        };
        for gone in before.checks.keys() {
            if !all.checks.contains_key(gone) {
                self.disarm(gone);
            }
        }
        for (check, held) in &mut all.checks {
            match before.checks.get(check) {
                Some(known) if known.definition == held.definition => held.clone_from(known),
                Some(_) | None => self.arm(now, check, held),
            }
        }
        self.nodes = Arc::new(all);
    }

    /// How often the ledger was told of a node or a check of one.
    pub(crate) const fn facts_told(&self) -> u64 {
        self.facts_told
    }

    /// The ledger is told.
    pub(crate) const fn count_facts(&mut self) {
        self.facts_told = self.facts_told.wrapping_add(1);
    }

    /// Nodes changed at this index, or right after the last one.
    pub(crate) fn touch(&mut self, index: u64) {
        let nodes = Arc::make_mut(&mut self.nodes);
        nodes.index = index.max(nodes.index.saturating_add(1));
    }
}
