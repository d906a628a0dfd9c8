//! A map by service that shares what did not change with its earlier versions.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use portolan_model::ServiceKey;

/// How many shards: a write at 10,000 services copies a map of 40.
const SHARDS: usize = 256;

type Shard<V> = Arc<HashMap<ServiceKey, Arc<V>>>;

/// A persistent map from services to values.
#[derive(Debug)]
pub(crate) struct Sharded<V> {
    shards: Arc<[Shard<V>]>,
    hash: RandomState,
}

impl<V> Clone for Sharded<V> {
    fn clone(&self) -> Self {
        Self {
            shards: Arc::clone(&self.shards),
            hash: self.hash.clone(),
        }
    }
}

impl<V> Default for Sharded<V> {
    fn default() -> Self {
        let empty = Shard::<V>::default();
        let shards = (0..SHARDS).map(|_| Arc::clone(&empty)).collect();
        Self {
            shards,
            hash: RandomState::new(),
        }
    }
}

impl<V> Sharded<V> {
    pub(crate) fn get(&self, key: &ServiceKey) -> Option<&Arc<V>> {
        self.shards[self.place(key)].get(key)
    }

    pub(crate) fn set(&mut self, key: &ServiceKey, value: Option<V>) {
        let place = self.place(key);
        let shard = Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[place]);
        match value {
            Some(value) => shard.insert(key.clone(), Arc::new(value)),
            None => shard.remove(key),
        };
    }

    fn place(&self, key: &ServiceKey) -> usize {
        // The remainder is below the number of shards.
        usize::try_from(self.hash.hash_one(key) % SHARDS as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_version_does_not_see_a_new_value() {
        let key = ServiceKey::parse("orders").unwrap();
        let mut map = Sharded::<u32>::default();
        map.set(&key, Some(1));
        let old = map.clone();
        map.set(&key, Some(2));
        assert_eq!(
            (old.get(&key).map(|v| **v), map.get(&key).map(|v| **v)),
            (Some(1), Some(2))
        );
        map.set(&key, None);
        assert!(map.get(&key).is_none());
        assert!(old.get(&key).is_some());
    }
}
