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
}
