//! What is made of an instance or a service, made once for everybody.
//!
//! A catalogue never changes an instance in place, so one `Arc` of an instance is one thing
//! made of it: its text for watchers, its record in a foreign protocol. Whoever is the first
//! to need it makes it; the others get the same, however many they are and however they come
//! to it: a list, a change, a watch that begins, one that resumes. The same goes for services.
//!
//! Invariant: an entry keeps the instance whose address is its key, so no other instance
//! can come to be at that address. What is kept is bounded, by [`BYTES_MAX`] or less; an
//! instance that has left the catalogue is let go of when it becomes the oldest, if it was
//! kept nowhere else.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use portolan_catalog::Service;
use portolan_model::{Instance, Revision};

/// Most bytes that are kept unless less is asked for, with [`ENTRY_BYTES`] for each entry.
const BYTES_MAX: usize = 32 << 20;
/// What an entry takes besides what was made: the instance itself and the places in the tables.
const ENTRY_BYTES: usize = 1024;

/// Something that can be kept: cheap to clone, and of a size that is known.
pub trait Keepable: Clone {
    /// About how many bytes it takes.
    fn bytes(&self) -> usize;
}

impl Keepable for Bytes {
    fn bytes(&self) -> usize {
        self.len()
    }
}

/// Text, and the revision at which it was made.
impl Keepable for (Revision, Bytes) {
    fn bytes(&self) -> usize {
        self.1.len()
    }
}

/// What was made of instances.
pub type PerInstance<T> = PerArc<Instance, T>;
/// What was made of services.
pub(crate) type PerService<T> = PerArc<Service, T>;

/// What was made lately; the lock guards it, and is held while one is made, so that nobody
/// makes it a second time.
#[derive(Debug)]
pub struct PerArc<K, T> {
    kept: Mutex<Kept<K, T>>,
    bytes_max: usize,
}

#[derive(Debug)]
struct Kept<K, T> {
    entries: HashMap<usize, Entry<K, T>>,
    /// Keys, oldest first.
    oldest: VecDeque<usize>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<K, T> {
    of: Arc<K>,
    made: T,
}

impl<K, T> Default for PerArc<K, T> {
    fn default() -> Self {
        Self::of_size(BYTES_MAX)
    }
}

impl<K, T> PerArc<K, T> {
    /// Keeps at most so many bytes.
    pub(crate) fn of_size(bytes_max: usize) -> Self {
        let kept = Kept {
            entries: HashMap::new(),
            oldest: VecDeque::new(),
            bytes: 0,
        };
        Self {
            kept: Mutex::new(kept),
            bytes_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept<K, T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, T: Keepable> PerArc<K, T> {
    /// What `read` makes of one, unless somebody else has made it.
    pub fn get(&self, of: &Arc<K>, read: impl FnOnce(&Arc<K>) -> T) -> T {
        let mut kept = self.lock();
        let key = Arc::as_ptr(of).addr();
        if let Some(entry) = kept.entries.get(&key) {
            return entry.made.clone();
        }
        let made = read(of);
        kept.keep(key, Arc::clone(of), made.clone());
        kept.shrink(self.bytes_max);
        made
    }

    /// The same where making takes long: others go on meanwhile, and may make it as well. What
    /// takes much of the room is not kept.
    pub(crate) fn get_large(&self, of: &Arc<K>, read: impl FnOnce(&Arc<K>) -> T) -> T {
        let key = Arc::as_ptr(of).addr();
        if let Some(entry) = self.lock().entries.get(&key) {
            return entry.made.clone();
        }
        let made = read(of);
        if made.bytes() <= self.bytes_max / 8 {
            let mut kept = self.lock();
            if !kept.entries.contains_key(&key) {
                kept.keep(key, Arc::clone(of), made.clone());
                kept.shrink(self.bytes_max);
            }
        }
        made
    }
}

impl<K, T: Keepable> Kept<K, T> {
    fn keep(&mut self, key: usize, of: Arc<K>, made: T) {
        self.bytes += made.bytes() + ENTRY_BYTES;
        self.entries.insert(key, Entry { of, made });
        self.oldest.push_back(key);
    }

    fn shrink(&mut self, bytes_max: usize) {
        while let Some(key) = self.oldest.front() {
            let entry = self.entries.get(key);
            // Nobody else has it any more: no catalogue, no watcher.
            let is_left = entry.is_some_and(|entry| Arc::strong_count(&entry.of) == 1);
            if self.bytes <= bytes_max && !is_left {
                return;
            }
            if let Some(entry) = self.entries.remove(key) {
                self.bytes -= entry.made.bytes() + ENTRY_BYTES;
            }
            self.oldest.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::BTreeMap};

    use portolan_model::{InstanceId, Name, NamedPort, ServiceKey, SourceId, State, Weight};

    use super::*;

    fn instance() -> Arc<Instance> {
        Arc::new(Instance {
            key: ServiceKey::parse("orders").unwrap(),
            id: InstanceId::parse("a").unwrap(),
            endpoints: Box::new([NamedPort {
                name: Name::parse("default").unwrap(),
                address: "127.0.0.1:9001".parse().unwrap(),
            }]),
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
    fn an_instance_is_encoded_once_for_everybody() {
        let (shared, made) = (PerInstance::default(), Cell::new(0));
        let one = instance();
        let encode = |instance: &Arc<Instance>| {
            made.set(made.get() + 1);
            Bytes::copy_from_slice(instance.id.as_str().as_bytes())
        };
        let first = shared.get(&one, encode);
        for _ in 0..1000 {
            assert_eq!(
                shared.get(&Arc::clone(&one), encode).as_ptr(),
                first.as_ptr()
            );
        }
        assert_eq!(made.get(), 1);
        // The same in content, but another: it may differ in what is not compared.
        let other = instance();
        shared.get(&other, encode);
        assert_eq!(made.get(), 2);
    }

    #[test]
    fn what_is_kept_ends_at_its_limit() {
        let shared = PerInstance::default();
        let text = Bytes::from(vec![b'x'; (BYTES_MAX / 4) - ENTRY_BYTES]);
        let instances: Vec<_> = (0..5).map(|_| instance()).collect();
        let is_made = |instance: &Arc<Instance>| {
            let made = Cell::new(false);
            shared.get(instance, |_| {
                made.set(true);
                text.clone()
            });
            made.get()
        };
        assert!(instances[..4].iter().all(is_made));
        assert!(!instances[..4].iter().any(is_made), "all four fit exactly");
        assert!(is_made(&instances[4]));
        assert!(!is_made(&instances[1]), "only the oldest had to go");
        assert!(is_made(&instances[0]));
    }

    #[test]
    fn what_has_left_the_catalogue_is_let_go_of() {
        let shared = PerInstance::default();
        let text = |_: &Arc<Instance>| Bytes::from_static(b"x");
        for _ in 0..100 {
            shared.get(&instance(), text);
        }
        let kept = shared.lock();
        assert_eq!(kept.entries.len(), kept.oldest.len());
        assert!(kept.entries.len() <= 1, "{}", kept.entries.len());
        assert_eq!(kept.bytes, kept.entries.len() * (1 + ENTRY_BYTES));
    }
}
