//! The names of services with the tags of each, as `catalog/services` lists them.
//!
//! Whoever waits for names is woken by every change of any instance, and nearly none changes a
//! name or tag. So the list is kept, and what did not change in the catalogue is not looked at
//! again: a change costs what changed, however many services there are. The list has an index
//! of its own, that of its last change, so that a client that has seen the list waits while
//! instances come, go and change.
//!
//! Invariant: what is kept of a service was read from the very one that [`Weak`] points to;
//! while that pointer is kept, nothing else can come to be at its address.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
};

use bytes::Bytes;
use portolan_access::Resource;
use portolan_catalog::{Catalog, Service};
use portolan_dialects::consul::{Record, Refusal};
use portolan_model::{Instance, ServiceKey};

use super::{acl::Permit, answering::encoded};

/// Consul itself, which is a service in its own list.
const CONSUL: &str = "consul";

/// Tags of all instances of a service.
pub(super) type Tags = BTreeSet<Arc<str>>;

/// The names under which the instances of one service registered: they may be spelt
/// differently. None if it has no instance.
type Names = BTreeMap<String, Tags>;

/// The list; it is as large as the catalogue has services.
#[derive(Debug, Default)]
pub(super) struct Listing {
    shelves: Vec<Shelf>,
    /// The index of its last change.
    index: u64,
    /// What a caller gets who may see everything.
    whole: Option<Bytes>,
}

/// A group of the catalogue's services.
#[derive(Debug, Default)]
struct Shelf {
    of: Weak<Vec<Arc<Service>>>,
    services: BTreeMap<ServiceKey, (Weak<Service>, Names)>,
}

impl Listing {
    /// Brings it up to date. `read` gives what an instance registered as.
    pub(super) fn follow(
        &mut self,
        catalog: &Catalog,
        read: impl Fn(&Arc<Instance>) -> Arc<Record>,
    ) {
        let mut is_new = self.index == 0;
        self.shelves
            .resize_with(catalog.groups().count(), Shelf::default);
        for (group, shelf) in catalog.groups().zip(&mut self.shelves) {
            is_new |= shelf.follow(group, &read);
        }
        let index = catalog.revision().as_u64();
        if is_new {
            self.whole = None;
        }
        // An index that went back is another history.
        if is_new || index < self.index {
            self.index = index;
        }
    }

    /// The index of the last change of any name or tag.
    pub(super) const fn index(&self) -> u64 {
        self.index
    }

    /// The list as a caller may see it.
    ///
    /// # Errors
    /// [`Refusal`]: 500 if it can't be written.
    pub(super) fn shown(&mut self, permit: &Permit) -> Result<Bytes, Refusal> {
        if permit.is_open()
            && let Some(whole) = &self.whole
        {
            return Ok(whole.clone());
        }
        let mut all: BTreeMap<&str, Cow<'_, Tags>> = BTreeMap::new();
        if permit.shows(Resource::Service, CONSUL) {
            all.insert(CONSUL, Cow::default());
        }
        for (key, (_, names)) in self.shelves.iter().flat_map(|shelf| &shelf.services) {
            if !permit.shows(Resource::Service, key.name.as_str()) {
                continue;
            }
            for (name, tags) in names {
                let known = all.entry(name).or_insert_with(|| Cow::Borrowed(tags));
                if **known != *tags {
                    known.to_mut().extend(tags.iter().cloned());
                }
            }
        }
        let shown = Bytes::from(encoded(&all)?);
        if permit.is_open() {
            self.whole = Some(shown.clone());
        }
        Ok(shown)
    }
}

impl Shelf {
    /// Takes in what is different; says whether anything is by that.
    fn follow(
        &mut self,
        group: &Arc<Vec<Arc<Service>>>,
        read: &impl Fn(&Arc<Instance>) -> Arc<Record>,
    ) -> bool {
        if self.of.as_ptr() == Arc::as_ptr(group) {
            return false;
        }
        self.of = Arc::downgrade(group);
        let mut before = std::mem::take(&mut self.services);
        let mut is_new = false;
        for service in group.iter().filter(|service| is_listed(service)) {
            let known = before.remove(&service.key);
            let kept = match known {
                Some((of, names)) if of.as_ptr() == Arc::as_ptr(service) => (of, names),
                known => {
                    let names = names_of(service, read);
                    is_new |= known.map(|(_, names)| names).unwrap_or_default() != names;
                    (Arc::downgrade(service), names)
                }
            };
            self.services.insert(service.key.clone(), kept);
        }
        is_new || before.values().any(|(_, names)| !names.is_empty())
    }
}

/// Clients of Consul see the services of the namespace that has no name there.
fn is_listed(service: &Service) -> bool {
    service.key.namespace.as_str() == ServiceKey::DEFAULT_NAMESPACE
}

fn names_of(service: &Service, read: impl Fn(&Arc<Instance>) -> Arc<Record>) -> Names {
    let mut names = Names::new();
    for record in service.instances.iter().map(read) {
        let service = &record.service;
        let tags = match names.get_mut(&service.name) {
            Some(tags) => tags,
            None => names.entry(service.name.clone()).or_default(),
        };
        for tag in &service.tags {
            if !tags.contains(tag) {
                tags.insert(Arc::clone(tag));
            }
        }
    }
    names
}
