//! All services by name, at one revision.
//!
//! A table shares what did not change with the one before: a change copies the pointers to
//! the shards and the shard of each service that changed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use portolan_model::{Revision, ServiceKey};

use super::Service;

/// How many shards: at 10,000 services a change copies a map of 40.
const SHARDS: usize = 256;
/// Longest key: two names and what is between them.
const KEY_BYTES_MAX: usize = 512;

type Shard = Arc<HashMap<Box<[u8]>, Arc<Service>>>;

/// Services by name.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    shards: Arc<[Shard]>,
    /// Services in each namespace.
    namespaces: Arc<BTreeMap<Box<[u8]>, usize>>,
    /// Ends of names that have dots, as keys, and how many services each is the end of.
    parents: Arc<BTreeMap<Box<[u8]>, usize>>,
    pub(crate) revision: Revision,
    /// The serial number of our zones: seconds since the Unix epoch.
    pub(crate) serial: u32,
}

/// The key of a service, made where no memory is taken for it.
pub(crate) struct Key {
    bytes: [u8; KEY_BYTES_MAX],
    len: usize,
}

impl Default for Table {
    fn default() -> Self {
        let empty = Shard::default();
        Self {
            shards: (0..SHARDS).map(|_| Arc::clone(&empty)).collect(),
            namespaces: Arc::default(),
            parents: Arc::default(),
            revision: Revision::FIRST,
            serial: 0,
        }
    }
}

impl Table {
    /// The service of that key.
    pub(crate) fn find(&self, key: &Key) -> Option<&Arc<Service>> {
        let key = key.as_bytes();
        self.shards.get(place(key))?.get(key)
    }

    /// Whether there is a service in that namespace, in small letters.
    pub(crate) fn has_namespace(&self, namespace: &[u8]) -> bool {
        self.namespaces.contains_key(namespace)
    }

    /// Whether there is a service whose name has more labels before that of the key.
    pub(crate) fn is_parent(&self, key: &Key) -> bool {
        self.parents.contains_key(key.as_bytes())
    }

    /// All services.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    /// Puts a service in, or takes it out, and gives what was there.
    pub(super) fn set(
        &mut self,
        key: &ServiceKey,
        service: Option<Arc<Service>>,
    ) -> Option<Arc<Service>> {
        let bytes = Key::of(key);
        let shard = Arc::make_mut(&mut self.shards).get_mut(place(bytes.as_bytes()))?;
        let shard = Arc::make_mut(shard);
        let is_there = service.is_some();
        let before = match service {
            Some(service) => shard.insert(bytes.as_bytes().into(), service),
            None => shard.remove(bytes.as_bytes()),
        };
        if is_there != before.is_some() {
            let namespace = key.namespace.as_str().as_bytes();
            count(&mut self.namespaces, namespace, is_there);
            let mut rest = key.name.as_str();
            while let Some((_, parent)) = rest.split_once('.') {
                let parents = Key::new(std::iter::once(parent.as_bytes()), namespace);
                count(&mut self.parents, parents.as_bytes(), is_there);
                rest = parent;
            }
        }
        before
    }
}

/// One more or one less of them.
fn count(counts: &mut Arc<BTreeMap<Box<[u8]>, usize>>, name: &[u8], is_there: bool) {
    let counts = Arc::make_mut(counts);
    let count = counts.entry(name.into()).or_default();
    *count = if is_there {
        count.saturating_add(1)
    } else {
        count.saturating_sub(1)
    };
    if *count == 0 {
        counts.remove(name);
    }
}

impl Key {
    /// The key of a service whose name may be in several labels, in small letters.
    pub(crate) fn new<'l>(labels: impl Iterator<Item = &'l [u8]>, namespace: &[u8]) -> Self {
        let mut key = Self::joined(labels);
        // No name has it.
        key.push(b"/");
        key.push(namespace);
        key
    }

    /// Labels with dots between them.
    pub(crate) fn joined<'l>(labels: impl Iterator<Item = &'l [u8]>) -> Self {
        let mut key = Self {
            bytes: [0; KEY_BYTES_MAX],
            len: 0,
        };
        for (place, label) in labels.enumerate() {
            if place > 0 {
                key.push(b".");
            }
            key.push(label);
        }
        key
    }

    fn of(key: &ServiceKey) -> Self {
        let name = std::iter::once(key.name.as_str().as_bytes());
        Self::new(name, key.namespace.as_str().as_bytes())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// What does not fit is left out: no service has such a name.
    fn push(&mut self, text: &[u8]) {
        let end = self.len.saturating_add(text.len());
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(text);
            self.len = end;
        }
    }
}

/// FNV-1a, of which the upper byte names the shard.
fn place(key: &[u8]) -> usize {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [upper, ..] = hash.to_be_bytes();
    usize::from(upper)
}
