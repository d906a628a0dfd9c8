//! A map that shares what did not change with its earlier versions.
//!
//! A fixed number of sorted lists behind shared pointers: a change to a map that is shared
//! copies the pointers to the lists and one list, of 40 at 10,000 keys. A look-up is one hash
//! and a binary search. Lists are in the order of hash and key, so that keys whose hashes are
//! alike cost a search nothing.
//!
//! Invariant: a key lies in the list of its hash's upper byte.

use std::sync::Arc;

use smallvec::SmallVec;

/// How many lists.
const SHARDS: usize = 1 << u8::BITS;
/// An odd number whose bits look like chance: 2^64 over the golden ratio.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

type Shard<V> = Arc<Vec<Entry<V>>>;

/// Values by keys that are bytes.
#[derive(Clone, Debug)]
pub(super) struct Shards<V> {
    table: Arc<[Shard<V>]>,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    hash: u64,
    /// In place, where it fits: it is compared with every look-up.
    key: SmallVec<[u8; 32]>,
    value: V,
}

impl<V> Default for Shards<V> {
    fn default() -> Self {
        let empty = Shard::default();
        Self {
            table: (0..SHARDS).map(|_| Arc::clone(&empty)).collect(),
        }
    }
}

impl<V: Clone> Shards<V> {
    pub(super) fn find(&self, key: &[u8]) -> Option<&V> {
        let hash = hash(key);
        let shard = self.table.get(place(hash))?;
        let at = position(shard, hash, key).ok()?;
        shard.get(at).map(|entry| &entry.value)
    }

    /// Puts a value in, or takes it out.
    pub(super) fn set(&mut self, key: &[u8], value: Option<V>) {
        if value.is_none() && self.find(key).is_none() {
            return;
        }
        let hash = hash(key);
        let Some(shard) = Arc::make_mut(&mut self.table).get_mut(place(hash)) else {
            return;
        };
        let shard = Arc::make_mut(shard);
        match (position(shard, hash, key), value) {
            (Ok(at), Some(value)) => {
                if let Some(entry) = shard.get_mut(at) {
                    entry.value = value;
                }
            }
            (Ok(at), None) => drop(shard.remove(at)),
            (Err(at), Some(value)) => {
                let key = key.into();
                shard.insert(at, Entry { hash, key, value });
            }
            (Err(_), None) => {}
        }
    }

    /// All values; their order has no meaning.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        let entries = self.table.iter().flat_map(|shard| shard.iter());
        entries.map(|entry| &entry.value)
    }
}

fn position<V>(shard: &[Entry<V>], hash: u64, key: &[u8]) -> Result<usize, usize> {
    shard.binary_search_by(|entry| {
        entry
            .hash
            .cmp(&hash)
            .then_with(|| entry.key.as_slice().cmp(key))
    })
}

/// Multiplies and folds, eight bytes at a time.
fn hash(key: &[u8]) -> u64 {
    let (words, rest) = key.as_chunks::<8>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let start = u64::try_from(key.len()).unwrap_or_default();
    let words = words.iter().chain([&last]);
    words
        .fold(start, |hash, word| {
            let mixed = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(MIX);
            mixed ^ (mixed >> 32)
        })
        .wrapping_mul(MIX)
}

fn place(hash: u64) -> usize {
    let [upper, ..] = hash.to_be_bytes();
    usize::from(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: usize) -> Shards<usize> {
        let mut shards = Shards::default();
        for number in 0..count {
            shards.set(format!("service-{number}/default").as_bytes(), Some(number));
        }
        shards
    }

    #[test]
    fn a_change_at_ten_thousand_keys_copies_one_list() {
        let mut shards = filled(10_000);
        let before = shards.clone();
        shards.set(b"service-77/default", Some(1));
        shards.set(b"nobody/default", None);
        let lists = before.table.iter().zip(shards.table.iter());
        let copied = lists.filter(|(one, other)| !Arc::ptr_eq(one, other));
        assert_eq!(copied.count(), 1);
        assert_eq!(before.find(b"service-77/default"), Some(&77));
        assert_eq!(shards.find(b"service-77/default"), Some(&1));
    }

    #[test]
    fn no_list_is_crowded_at_ten_thousand_keys() {
        let most = filled(10_000).table.iter().map(|shard| shard.len()).max();
        assert!(most < Some(80), "{most:?}");
        let mut addresses = Shards::default();
        for number in 0..10_000_u32 {
            let ip = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_ipv6_mapped();
            addresses.set(&ip.octets(), Some(()));
        }
        let most = addresses.table.iter().map(|shard| shard.len()).max();
        assert!(most < Some(80), "{most:?}");
    }

    #[test]
    fn what_was_taken_out_is_not_found() {
        let mut shards = filled(3);
        shards.set(b"service-1/default", None);
        assert_eq!(shards.find(b"service-1/default"), None);
        assert_eq!(shards.find(b"service-2/default"), Some(&2));
        assert_eq!(shards.values().count(), 2);
    }
}
