//! What events make necessary.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    jute::{Event, Happening},
    tree::{Role, Tree},
};

/// An instance's service and node.
pub(super) type Place = (String, String);

/// What is to be read again.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) base: bool,
    pub(super) services: BTreeSet<String>,
    pub(super) gone_services: BTreeSet<String>,
    /// Instances by service and node, and whether they are there.
    pub(super) instances: BTreeMap<Place, bool>,
}

impl Dirty {
    /// What these events make necessary.
    pub(super) fn of(tree: &Tree, events: Vec<Event>) -> Self {
        let mut dirty = Self::default();
        for event in events {
            let is_there = event.happening != Happening::Deleted;
            match (tree.role(&event.path), event.happening) {
                // Data of a service's node is nobody's.
                (_, Happening::None) | (Role::Other, _) | (Role::Service(_), Happening::Data) => {}
                (Role::Base, _) => dirty.base = true,
                (Role::Service(name), Happening::Deleted) => {
                    dirty.services.remove(name);
                    dirty.gone_services.insert(name.to_owned());
                }
                (Role::Service(name), Happening::Created | Happening::Children) => {
                    dirty.gone_services.remove(name);
                    dirty.services.insert(name.to_owned());
                }
                (Role::Instance(service, node), _) => {
                    let place = (service.to_owned(), node.to_owned());
                    dirty.instances.insert(place, is_there);
                }
            }
        }
        dirty
    }

    /// Takes the services that there are now, against those that were known.
    pub(super) fn names_found(&mut self, now: BTreeSet<String>, known: &BTreeSet<String>) {
        self.gone_services.extend(known.difference(&now).cloned());
        let new = now.into_iter().filter(|name| !known.contains(name));
        self.services.extend(new);
    }

    /// Has everything that was deleted looked at again. It may be there again, and where a
    /// watch tells one thing and is gone, no other event says so.
    pub(super) fn doubt_deletions(&mut self) {
        self.services.append(&mut self.gone_services);
        for is_there in self.instances.values_mut() {
            *is_there = true;
        }
    }

    /// Takes which of the services are there.
    pub(super) fn services_found(&mut self, there: Vec<String>) {
        self.gone_services.append(&mut self.services);
        self.services.extend(there);
        let services = &self.services;
        self.gone_services.retain(|name| !services.contains(name));
    }

    /// Takes the nodes that services have now, against those of them that were known.
    pub(super) fn nodes_found(&mut self, now: &BTreeSet<Place>, known: &BTreeSet<Place>) {
        let gone = known.difference(now).map(|place| (place, false));
        let new = now.difference(known).map(|place| (place, true));
        let changes = gone.chain(new);
        self.instances
            .extend(changes.map(|(place, is_there)| (place.clone(), is_there)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zookeeper::settings::Layout;

    fn event(happening: Happening, path: &str) -> Event {
        Event {
            happening,
            path: path.to_owned(),
        }
    }

    #[test]
    fn the_last_that_happened_to_a_node_counts() {
        let tree = Tree::new("", "/s", Layout::Spring);
        let events = vec![
            event(Happening::Created, "/s/a"),
            event(Happening::Created, "/s/a/1"),
            event(Happening::Deleted, "/s/a/1"),
            event(Happening::Data, "/s/a/2"),
            event(Happening::Data, "/s/a"),
            event(Happening::Deleted, "/s/b/1"),
            event(Happening::Deleted, "/s/b"),
            event(Happening::Created, "/elsewhere"),
            event(Happening::None, ""),
        ];
        let dirty = Dirty::of(&tree, events);
        assert!(!dirty.base);
        let names = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>();
        assert_eq!(names(&dirty.services), ["a"]);
        assert_eq!(names(&dirty.gone_services), ["b"]);
        let nodes: Vec<_> = dirty.instances.iter().collect();
        let nodes: Vec<_> = nodes
            .iter()
            .map(|(place, is)| (&*place.0, &*place.1, **is))
            .collect();
        assert_eq!(
            nodes,
            [("a", "1", false), ("a", "2", true), ("b", "1", false)]
        );
        assert!(Dirty::of(&tree, vec![event(Happening::Children, "/s")]).base);
    }

    #[test]
    fn a_node_that_was_deleted_and_made_again_is_read() {
        let tree = Tree::new("", "/s", Layout::Spring);
        let place = |node: &str| ("a".to_owned(), node.to_owned());
        let known = BTreeSet::from([place("1"), place("2"), place("3")]);
        let events = vec![
            event(Happening::Deleted, "/s/a/1"),
            event(Happening::Deleted, "/s/a/2"),
            event(Happening::Children, "/s/a"),
        ];
        let mut dirty = Dirty::of(&tree, events);
        let now = BTreeSet::from([place("1"), place("3"), place("4")]);
        dirty.doubt_deletions();
        dirty.nodes_found(&now, &known);
        let nodes: Vec<_> = dirty.instances.iter().collect();
        let nodes: Vec<_> = nodes.iter().map(|(place, is)| (&*place.1, **is)).collect();
        assert_eq!(nodes, [("1", true), ("2", false), ("4", true)]);
    }

    #[test]
    fn a_node_whose_deletion_is_heard_of_late_is_read() {
        let tree = Tree::new("", "/s", Layout::Spring);
        let mut dirty = Dirty::of(&tree, vec![event(Happening::Deleted, "/s/a/1")]);
        dirty.doubt_deletions();
        let place = ("a".to_owned(), "1".to_owned());
        assert_eq!(dirty.instances, BTreeMap::from([(place, true)]));
    }

    #[test]
    fn a_service_that_was_deleted_and_made_again_is_looked_at() {
        let tree = Tree::new("", "/s", Layout::Spring);
        let known = BTreeSet::from(["a", "b", "c"].map(str::to_owned));
        let events = vec![
            event(Happening::Deleted, "/s/a"),
            event(Happening::Deleted, "/s/b"),
            event(Happening::Children, "/s"),
        ];
        let mut dirty = Dirty::of(&tree, events);
        let now = ["a", "c", "d"].map(str::to_owned);
        dirty.names_found(BTreeSet::from(now), &known);
        dirty.doubt_deletions();
        dirty.services_found(vec!["a".to_owned(), "d".to_owned()]);
        let names = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>();
        assert_eq!(names(&dirty.services), ["a", "d"]);
        assert_eq!(names(&dirty.gone_services), ["b"]);
    }
}
