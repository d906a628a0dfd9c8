//! A map of services that shares what did not change with its earlier versions.
//!
//! A fixed number of sorted vectors behind shared pointers. A write to a map that
//! is shared copies the table of pointers and one shard: microseconds at 10,000
//! services. A write to a map of one owner copies nothing.
//!
//! Invariant: each service lies in the shard of its key's hash, shards are sorted by key.

use std::sync::Arc;

use portolan_model::ServiceKey;

use crate::Service;

/// How many shards: at 10,000 services a shard has about 40.
const SHARDS: usize = 1 << u8::BITS;

type Shard = Vec<Arc<Service>>;

#[derive(Clone, Debug)]
pub(crate) struct Shards {
    table: Arc<[Arc<Shard>; SHARDS]>,
    len: usize,
}

impl Default for Shards {
    fn default() -> Self {
        let empty = Arc::new(Shard::new());
        Self {
            table: Arc::new(std::array::from_fn(|_| Arc::clone(&empty))),
            len: 0,
        }
    }
}

impl Shards {
    pub(crate) fn find(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        let shard = &self.table[shard_of(key)];
        let place = position(shard, key).ok()?;
        Some(&shard[place])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.table.iter().flat_map(|shard| shard.iter())
    }

    /// The shards, always as many.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Arc<Shard>> {
        self.table.iter()
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, service: Arc<Service>) {
        let shard = self.shard_mut(&service.key);
        match position(shard, &service.key) {
            Ok(place) => shard[place] = service,
            Err(place) => {
                shard.insert(place, service);
                self.len += 1;
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &ServiceKey) {
        if self.find(key).is_none() {
            return;
        }
        let shard = self.shard_mut(key);
        if let Ok(place) = position(shard, key) {
            shard.remove(place);
            self.len -= 1;
        }
    }

    fn shard_mut(&mut self, key: &ServiceKey) -> &mut Shard {
        Arc::make_mut(&mut Arc::make_mut(&mut self.table)[shard_of(key)])
    }
}

fn position(shard: &Shard, key: &ServiceKey) -> Result<usize, usize> {
    shard.binary_search_by(|service| service.key.cmp(key))
}

/// FNV-1a over name and namespace, of which one byte names the shard.
fn shard_of(key: &ServiceKey) -> usize {
    let text = key.name.as_str().bytes();
    let hash = text
        .chain(key.namespace.as_str().bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    // The upper byte is the best mixed.
    usize::from(hash.to_be_bytes()[0])
}

#[cfg(test)]
mod tests {
    use portolan_model::Revision;

    use super::*;

    fn service(name: &str) -> Arc<Service> {
        Arc::new(Service {
            key: ServiceKey::parse(name).unwrap(),
            modified: Revision::FIRST,
            instances: Vec::new(),
            conflicts: Vec::new(),
        })
    }

    #[test]
    fn a_write_at_ten_thousand_services_touches_one_shard() {
        let mut shards = Shards::default();
        for n in 0..10_000 {
            shards.insert(service(&format!("service-{n}")));
        }
        let before = shards.clone();
        shards.insert(service("service-77"));
        let touched = (0..SHARDS)
            .filter(|n| !Arc::ptr_eq(&before.table[*n], &shards.table[*n]))
            .count();
        assert_eq!((touched, shards.len()), (1, 10_000));
    }

    #[test]
    fn no_shard_is_crowded_at_ten_thousand_services() {
        let mut shards = Shards::default();
        for n in 0..10_000 {
            shards.insert(service(&format!("service-{n}")));
        }
        assert!(shards.table.iter().all(|shard| shard.len() < 80));
    }

    #[test]
    fn what_was_removed_is_not_found() {
        let mut shards = Shards::default();
        shards.insert(service("a"));
        shards.insert(service("b"));
        shards.remove(&ServiceKey::parse("a").unwrap());
        shards.remove(&ServiceKey::parse("c").unwrap());
        assert!(shards.find(&ServiceKey::parse("a").unwrap()).is_none());
        assert!(shards.find(&ServiceKey::parse("b").unwrap()).is_some());
        assert_eq!((shards.len(), shards.iter().count()), (1, 1));
    }
}
