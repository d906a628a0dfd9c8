//! All services by name, at one publication.
//!
//! A table shares what did not change with the one before: a change copies the pointers to the
//! lists and the list of each service that changed.

use std::{net::IpAddr, sync::Arc};

use portolan_model::{Name, ServiceKey};

use super::{Service, names::Names, shards::Shards};

/// Addresses are named by so many services at most.
pub(super) const NAMES_MAX: usize = 16;
/// Longest key: two names and what is between them.
const KEY_BYTES_MAX: usize = 512;

/// Services by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    services: Shards<Arc<Service>>,
    /// Ends of names that have more labels, as keys, and how many services each is the end of;
    /// a namespace is the end of all that are in it.
    parents: Shards<usize>,
    /// The services in a namespace that may get traffic.
    open: Shards<Arc<Names>>,
    /// The first services at an address.
    addresses: Shards<Arc<[ServiceKey]>>,
    /// The serial number of our zones: seconds since the Unix epoch.
    pub(crate) serial: u32,
}

/// The key of a service, made where no memory is taken for it.
pub(crate) struct Key {
    bytes: [u8; KEY_BYTES_MAX],
    len: usize,
}

impl Table {
    /// The service of that key.
    pub(crate) fn find(&self, key: &Key) -> Option<&Service> {
        self.services.find(key.as_bytes()).map(|service| &**service)
    }

    /// Whether there is a service in that namespace, in small letters.
    pub(crate) fn has_namespace(&self, namespace: &[u8]) -> bool {
        self.is_parent(&Key::new(std::iter::empty(), namespace))
    }

    /// Whether there is a service whose name has more labels before that of the key.
    pub(crate) fn is_parent(&self, key: &Key) -> bool {
        self.parents.find(key.as_bytes()).is_some()
    }

    /// The services in a namespace that may get traffic, in order.
    pub(crate) fn open_in(&self, namespace: &[u8]) -> impl Iterator<Item = &Name> {
        let names = self.open.find(namespace);
        names.into_iter().flat_map(|names| names.iter())
    }

    /// The services that an address is of: the first ones, if it is of many.
    pub(crate) fn of_address(&self, ip: IpAddr) -> &[ServiceKey] {
        let services = self.addresses.find(&octets(ip));
        services.map_or(&[], |services| services)
    }

    /// All services.
    pub(super) fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// The service of that key.
    pub(super) fn service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.services.find(Key::of(key).as_bytes())
    }

    /// Puts a service in, or takes it out.
    pub(super) fn set(&mut self, key: &ServiceKey, service: Option<Arc<Service>>) {
        let is_open = |service: Option<&Arc<Service>>| service.is_some_and(|one| !one.is_empty());
        let before = self.service(key);
        let (was_there, was_open) = (before.is_some(), is_open(before));
        let (is_there, is_open) = (service.is_some(), is_open(service.as_ref()));
        self.services.set(Key::of(key).as_bytes(), service);
        if is_there != was_there {
            self.count(key, is_there);
        }
        if is_open != was_open {
            self.list(key, is_open);
        }
    }

    /// Says whose an address is.
    pub(super) fn set_address(&mut self, ip: IpAddr, services: Option<Arc<[ServiceKey]>>) {
        self.addresses.set(&octets(ip), services);
    }

    /// One service more or less has these ends.
    fn count(&mut self, key: &ServiceKey, is_there: bool) {
        let namespace = key.namespace.as_str().as_bytes();
        let mut rest = Some(key.name.as_str());
        while let Some(name) = rest {
            rest = name.split_once('.').map(|(_, parent)| parent);
            let parent = Key::new(rest.into_iter().map(str::as_bytes), namespace);
            let count = self.parents.find(parent.as_bytes()).copied();
            let count = count.unwrap_or_default();
            let count = if is_there {
                count.saturating_add(1)
            } else {
                count.saturating_sub(1)
            };
            let count = Some(count).filter(|count| *count > 0);
            self.parents.set(parent.as_bytes(), count);
        }
    }

    fn list(&mut self, key: &ServiceKey, is_open: bool) {
        let namespace = key.namespace.as_str().as_bytes();
        let names = self.open.find(namespace);
        let mut names = names.map_or_else(Names::default, |names| Names::clone(names));
        if is_open {
            names.insert(&key.name);
        } else {
            names.remove(&key.name);
        }
        let names = Some(names).filter(|names| !names.is_empty());
        self.open.set(namespace, names.map(Arc::new));
    }
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
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

    /// The key of that service.
    pub(crate) fn of(key: &ServiceKey) -> Self {
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
