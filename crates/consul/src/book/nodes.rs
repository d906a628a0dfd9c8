//! Nodes in the book, and their checks.

use std::sync::Arc;

use portolan_dialects::consul::{CheckDefinition, NodeDefinition, Record, Refusal};
use portolan_model::Health;

use super::{ALIVE, Book};
use crate::{
    nodes::Stored,
    terms::{Fact, Holder, Key, Others, Touched},
};

/// Most nodes that are registered by hand.
const NODES_MAX: usize = 65_536;
/// Most checks of nodes.
const NODE_CHECKS_MAX: usize = 65_536;

impl Book {
    pub(super) fn add_node_check(
        &mut self,
        node: Option<&str>,
        definition: CheckDefinition,
    ) -> Result<Vec<Touched>, Refusal> {
        let check = Key::new(node, &definition.id);
        if self.node_checks >= NODE_CHECKS_MAX && self.node_check(&check).is_none() {
            let text = format!("there are {NODE_CHECKS_MAX} checks of nodes already");
            return Err(Refusal::failed(text));
        }
        let mut record = Record::of_node(node, definition);
        self.name_aliases(&mut record);
        record.probes()?;
        let mut touched = self.adopt(record);
        touched.push(Touched::NodeCheck(check));
        Ok(touched)
    }

    /// Whoever looks at the agent's node finds at least that it is there.
    pub(super) fn ensure_alive(&mut self) -> Vec<Touched> {
        let key = Key::new(None, ALIVE);
        if self.node_check(&key).is_some() {
            return Vec::new();
        }
        let alive = CheckDefinition {
            status: Some(Health::Passing),
            ..CheckDefinition::external(ALIVE, "Serf Health Status")
        };
        let mut touched = self.adopt(Record::of_node(None, alive));
        touched.push(Touched::NodeCheck(key));
        touched
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
    pub(crate) fn remove_node(&mut self, now: u64, name: &str) -> Vec<Touched> {
        let mut touched = Vec::new();
        for check in self.on_node(name) {
            if let Holder::NodeCheck(key) = check {
                touched.extend(self.remove_check(now, &key).into_iter().flatten());
            }
        }
        let nodes = Arc::make_mut(&mut self.nodes);
        nodes.known.remove(name);
        touched.push(Touched::Node(vec![Fact::Node(name.to_owned())]));
        touched
    }

    /// The services that are on a node.
    pub(crate) fn services_on(&self, name: &str) -> Vec<Holder> {
        let mut on_it = self.on_node(name);
        on_it.retain(|holder| matches!(holder, Holder::Service(_)));
        on_it
    }

    fn on_node(&self, name: &str) -> Vec<Holder> {
        let on_it = |holder: &&Holder| {
            let (Holder::Service(key) | Holder::NodeCheck(key)) = holder;
            key.node.as_deref() == Some(name)
        };
        self.records.keys().filter(on_it).cloned().collect()
    }

    /// Nodes and their checks are now these. A check that is known already goes on as it is.
    pub(crate) fn set_nodes(
        &mut self,
        now: u64,
        (known, checks): Stored,
        others: Others,
    ) -> Vec<Touched> {
        Arc::make_mut(&mut self.nodes).known = known;
        let is_kept =
            |key: &Key| others == Others::Stay || key.id == ALIVE || checks.contains_key(key);
        let before = self.records.keys().filter_map(|holder| match holder {
            Holder::NodeCheck(key) if !is_kept(key) => Some(key.clone()),
            Holder::NodeCheck(_) | Holder::Service(_) => None,
        });
        let gone: Vec<_> = before.collect();
        let mut touched = Vec::new();
        for key in gone {
            touched.extend(self.remove_check(now, &key).into_iter().flatten());
        }
        for (key, definition) in checks {
            let known = self.node_check(&key).and_then(|known| known.check(&key.id));
            if known == Some(&definition) {
                continue;
            }
            let mut record = Record::of_node(key.node.as_deref(), definition);
            self.name_aliases(&mut record);
            touched.extend(self.adopt(record));
            touched.push(Touched::NodeCheck(key));
        }
        touched
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn check(name: &str) -> CheckDefinition {
        let body = format!(r#"{{"Name": "{name}", "TTL": "1s"}}"#);
        CheckDefinition::read(body.as_bytes()).unwrap()
    }

    fn own(id: &str) -> Key {
        Key::new(None, id)
    }

    #[test]
    fn nodes_are_taken_up_to_the_limit() {
        let mut book = Book::default();
        let node = |n: usize| NodeDefinition {
            name: n.to_string(),
            ..NodeDefinition::default()
        };
        for n in 0..NODES_MAX {
            book.put_node(node(n), 1).unwrap();
        }
        assert!(book.put_node(node(NODES_MAX), 1).is_err());
        assert!(book.put_node(node(0), 2).is_ok());
        book.touch(5);
        book.touch(5);
        assert_eq!(book.nodes().index, 6, "an index never stands still");
    }

    #[test]
    fn checks_of_nodes_are_taken_up_to_the_limit() {
        let mut book = Book::default();
        let add = |book: &mut Book, n: usize| book.add_check(None, check(&n.to_string()));
        for n in 0..NODE_CHECKS_MAX {
            add(&mut book, n).unwrap();
        }
        assert!(add(&mut book, NODE_CHECKS_MAX).is_err());
        assert!(add(&mut book, 0).is_ok());
        book.remove_check(0, &own("0")).unwrap();
        assert!(add(&mut book, NODE_CHECKS_MAX).is_ok());
    }

    #[test]
    fn checks_become_those_of_the_ledger() {
        let mut book = Book::default();
        for name in ["a", "b"] {
            book.add_check(None, check(name)).unwrap();
        }
        let stored = [(own("b"), check("b")), (own("c"), check("c"))];
        let stored: Stored = (BTreeMap::new(), stored.into());
        let mut other = Book::default();
        other.add_check(None, check("a")).unwrap();
        other.set_nodes(0, stored.clone(), Others::Stay);
        assert!(other.check(&own("a")).is_some() && other.check(&own("c")).is_some());
        let touched = book.set_nodes(0, stored, Others::Go);
        let gone = Record::of_node(None, check("a"));
        let expected = [Touched::Gone(Box::new(gone)), Touched::NodeCheck(own("c"))];
        assert_eq!(touched, expected);
        assert!(book.check(&own("a")).is_none() && book.check(&own("b")).is_some());
    }
}
