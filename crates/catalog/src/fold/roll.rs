//! The instances of a share, found by id.
//!
//! There is an entry for each instance of each source, so an entry is a pointer and nothing
//! else: the instance has its id itself.

use std::sync::Arc;

use portolan_model::{Instance, InstanceId};

/// Instances, each id once.
///
/// Invariant: they are in the order of ids.
#[derive(Debug, Default)]
pub(super) struct Roll(Vec<Arc<Instance>>);

impl Roll {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, id: &InstanceId) -> bool {
        self.place(id).is_ok()
    }

    pub(super) fn get(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.0.get(self.place(id).ok()?)
    }

    /// Puts an instance in; gives back the one whose place it takes.
    pub(super) fn insert(&mut self, instance: Arc<Instance>) -> Option<Arc<Instance>> {
        match self.place(&instance.id) {
            Ok(place) => Some(std::mem::replace(&mut self.0[place], instance)),
            Err(place) => {
                if self.0.len() == self.0.capacity() {
                    // Doubling would leave a quarter of the room empty, and lists grow seldom.
                    self.0.reserve_exact(1 + self.0.len() / 8);
                }
                self.0.insert(place, instance);
                None
            }
        }
    }

    pub(super) fn remove(&mut self, id: &InstanceId) -> Option<Arc<Instance>> {
        let place = self.place(id).ok()?;
        let removed = self.0.remove(place);
        if self.0.len() < self.0.capacity() / 2 {
            self.0.shrink_to_fit();
        }
        Some(removed)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.0.iter()
    }

    /// All, to be changed; their ids stay.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Arc<Instance>> {
        self.0.iter_mut()
    }

    fn place(&self, id: &InstanceId) -> Result<usize, usize> {
        self.0.binary_search_by(|known| known.id.cmp(id))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use portolan_model::{ServiceKey, SourceId, State, Weight};

    use super::*;

    fn id(number: usize) -> InstanceId {
        InstanceId::parse(&format!("{number:04}")).unwrap()
    }

    fn instance(number: usize) -> Arc<Instance> {
        Arc::new(Instance {
            key: ServiceKey::parse("orders").unwrap(),
            id: id(number),
            endpoints: Box::default(),
            zone: None,
            version: None,
            weight: Weight::NORMAL,
            tags: Box::default(),
            metadata: BTreeMap::new(),
            source: SourceId::new("registry"),
            state: State::default(),
        })
    }

    #[test]
    fn instances_stand_in_the_order_of_ids_however_they_came() {
        let mut roll = Roll::default();
        for number in [2, 0, 1] {
            assert_eq!(roll.insert(instance(number)), None);
        }
        let other = instance(1);
        let before = roll.insert(Arc::clone(&other));
        assert!(before.is_some_and(|before| !Arc::ptr_eq(&before, &other)));
        assert!(roll.get(&id(1)).is_some_and(|one| Arc::ptr_eq(one, &other)));
        assert!(roll.iter().map(|one| one.id.clone()).eq([0, 1, 2].map(id)));
        assert!(roll.remove(&id(0)).is_some());
        assert!(roll.remove(&id(0)).is_none());
        assert_eq!((roll.has(&id(0)), roll.len()), (false, 2));
    }

    #[test]
    fn a_roll_has_little_room_that_is_empty() {
        let mut roll = Roll::default();
        for number in 0..1000 {
            roll.insert(instance(number));
        }
        assert!(roll.0.capacity() <= 1125);
        for number in 0..990 {
            roll.remove(&id(number));
        }
        assert!(roll.0.capacity() <= 20);
    }
}
