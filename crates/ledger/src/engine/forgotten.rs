//! Indexes of keys that are no longer there.
//!
//! Who waits for a key that was deleted, or for one that never was, needs an index that does not
//! go back. Deleted keys are remembered, the latest ones; for all others the index is the one
//! that was reached when the last of them was forgotten, or when the engine began.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use portolan_model::Revision;

use crate::entry::Key;

/// Most deleted keys that are remembered.
pub const FORGOTTEN_KEYS_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Forgotten {
    keys: BTreeMap<Key, Revision>,
    by_age: BTreeSet<(Revision, Key)>,
    floor: Revision,
}

impl Forgotten {
    pub(super) const fn new(floor: Revision) -> Self {
        Self {
            keys: BTreeMap::new(),
            by_age: BTreeSet::new(),
            floor,
        }
    }

    pub(super) const fn floor(&self) -> Revision {
        self.floor
    }

    pub(super) fn delete(&mut self, key: &Key, at: Revision) {
        self.revive(key);
        self.keys.insert(Key::clone(key), at);
        self.by_age.insert((at, Key::clone(key)));
        if self.keys.len() > FORGOTTEN_KEYS_MAX
            && let Some((at, key)) = self.by_age.pop_first()
        {
            self.keys.remove(&key);
            self.floor = self.floor.max(at);
        }
    }

    /// The key is there again; below its prefixes the index stays, because the entry's is higher.
    pub(super) fn revive(&mut self, key: &Key) {
        if let Some(at) = self.keys.remove(key) {
            self.by_age.remove(&(at, Key::clone(key)));
        }
    }

    pub(super) fn index_of_key(&self, key: &str) -> Revision {
        self.keys.get(key).copied().unwrap_or(self.floor)
    }

    pub(super) fn index_of_tree(&self, prefix: &str) -> Revision {
        self.keys
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .fold(self.floor, |highest, (_, at)| highest.max(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_past_the_limit_the_oldest_raises_the_floor() {
        let mut forgotten = Forgotten::new(Revision::FIRST);
        let at = |number: usize| Revision::from_u64(10 + number as u64);
        for number in 0..FORGOTTEN_KEYS_MAX {
            forgotten.delete(&format!("a/{number:06}").into(), at(number));
        }
        assert_eq!(forgotten.index_of_key("never"), Revision::FIRST);
        assert_eq!(forgotten.index_of_key("a/000000"), at(0));
        assert_eq!(forgotten.index_of_tree("a/"), at(FORGOTTEN_KEYS_MAX - 1));
        forgotten.delete(&"b".into(), at(FORGOTTEN_KEYS_MAX));
        assert_eq!(forgotten.index_of_key("never"), at(0));
        assert_eq!(forgotten.index_of_key("a/000000"), at(0));
        assert_eq!(forgotten.index_of_tree("a/"), at(FORGOTTEN_KEYS_MAX - 1));
    }
}
