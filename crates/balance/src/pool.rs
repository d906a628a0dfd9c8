//! The endpoints that a pick chooses from, and the slots of their gauges.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
};

use portolan_model::{Instance, InstanceId, Metadata, Name, ServiceKey, Traffic, Weight};

use crate::owned::{Found, Owned};

/// Place of an endpoint's gauges in every worker's table.
///
/// The index is used again after an endpoint is gone; the epoch tells the uses apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Place in the table.
    pub index: u32,
    /// Which use of the place this is.
    pub epoch: u32,
}

/// An address that may get traffic.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Whose address it is.
    pub instance: Arc<Instance>,
    /// Where to connect.
    pub address: SocketAddr,
    /// Where its gauges are.
    pub slot: Slot,
    /// Its share, after the reductions of its state.
    pub weight: Weight,
}

/// An instance that gets no traffic, and why.
#[derive(Clone, Debug)]
pub struct Excluded {
    /// The instance.
    pub instance: Arc<Instance>,
    /// The reason: never [`Traffic::Full`] or [`Traffic::Reduced`]; `None` if it lacks the port.
    pub reason: Option<Traffic>,
}

/// The endpoints of an upstream at one revision.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// Those that may get traffic.
    pub endpoints: Box<[Endpoint]>,
    /// Those that may not.
    pub excluded: Box<[Excluded]>,
}

/// Which of the instances of a service a pool is of.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The port that is called; the first one if none.
    pub port: Option<&'a Name>,
    /// Labels that an instance must have.
    pub subset: &'a Metadata,
}

impl Pool {
    /// The pool of those instances that `terms` ask for. Of several instances of a service
    /// that claim one address, the first counts.
    pub fn of<'a>(
        instances: impl IntoIterator<Item = &'a Arc<Instance>>,
        terms: Terms<'_>,
        slots: &mut SlotTable,
    ) -> Self {
        let (mut endpoints, mut excluded) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        let instances = instances.into_iter();
        for instance in instances.filter(|instance| instance.matches(terms.subset)) {
            let traffic = instance.state.traffic();
            let Some(address) = instance.address(terms.port) else {
                excluded.push(Excluded::new(instance, None));
                continue;
            };
            if !traffic.is_open() {
                excluded.push(Excluded::new(instance, Some(traffic)));
            } else if seen.insert((&instance.key, address)) {
                endpoints.push(Endpoint {
                    instance: Arc::clone(instance),
                    address,
                    slot: slots.slot(&instance.key, &instance.id, address),
                    weight: weight(instance, traffic),
                });
            }
        }
        Self {
            endpoints: endpoints.into(),
            excluded: excluded.into(),
        }
    }
}

impl Excluded {
    fn new(instance: &Arc<Instance>, reason: Option<Traffic>) -> Self {
        let instance = Arc::clone(instance);
        Self { instance, reason }
    }
}

fn weight(instance: &Instance, traffic: Traffic) -> Weight {
    match traffic {
        Traffic::Reduced => instance.weight.reduced(),
        Traffic::Full
        | Traffic::Starting
        | Traffic::Critical
        | Traffic::Overridden
        | Traffic::Leaving => instance.weight,
    }
}

/// Gives each (service, instance, address) its slot. Owned by the publisher.
#[derive(Debug, Default)]
pub struct SlotTable {
    taken: HashMap<ServiceKey, Owned>,
    /// The place after that of the slot which was asked for last.
    hint: usize,
    free: Vec<u32>,
    next: u32,
    epoch: u32,
    /// The epoch of each place while its address is in the catalogue; else 0.
    live: Vec<u32>,
}

impl SlotTable {
    /// The slot of that address; the same as before if it has one.
    pub fn slot(&mut self, key: &ServiceKey, id: &InstanceId, address: SocketAddr) -> Slot {
        let owned = self.taken.get(key);
        let found = owned.and_then(|owned| owned.find(id, address, self.hint));
        if let Some(Found { place, slot }) = found {
            self.hint = place + 1;
            // It may have left and come back.
            self.live[slot.index as usize] = slot.epoch;
            return slot;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        // 0 stands for no epoch.
        self.epoch = self.epoch.wrapping_add(1).max(1);
        let slot = Slot {
            index,
            epoch: self.epoch,
        };
        if self.live.len() <= index as usize {
            self.live.resize(index as usize + 1, 0);
        }
        self.live[index as usize] = slot.epoch;
        let owned = self.taken.entry(key.clone()).or_default();
        self.hint = owned.insert(id.clone(), address, slot).place + 1;
        slot
    }

    /// The slot of that address, if it has one.
    #[must_use]
    pub fn find(&self, key: &ServiceKey, id: &InstanceId, address: SocketAddr) -> Option<Slot> {
        let found = self.taken.get(key)?.find(id, address, self.hint)?;
        Some(found.slot)
    }

    /// The slots of all addresses of an instance.
    pub fn of_instance(&self, key: &ServiceKey, id: &InstanceId) -> impl Iterator<Item = Slot> {
        let owned = self.taken.get(key).into_iter();
        owned.flat_map(|owned| owned.of_instance(id))
    }

    /// Whose slots there are, and where.
    pub fn of_service(&self, key: &ServiceKey) -> impl Iterator<Item = (&InstanceId, SocketAddr)> {
        self.taken.get(key).into_iter().flat_map(Owned::iter)
    }

    /// Notes that an address has left the catalogue; requests may still be under way to it.
    pub fn depart(&mut self, key: &ServiceKey, id: &InstanceId, address: SocketAddr) {
        if let Some(slot) = self.find(key, id, address) {
            self.live[slot.index as usize] = 0;
        }
    }

    /// Whether the address of that slot is in the catalogue.
    #[must_use]
    pub fn is_live(&self, slot: Slot) -> bool {
        self.live.get(slot.index as usize) == Some(&slot.epoch)
    }

    /// Takes back the slot of an address that is gone.
    pub fn release(&mut self, key: &ServiceKey, id: &InstanceId, address: SocketAddr) {
        let Some(owned) = self.taken.get_mut(key) else {
            return;
        };
        if let Some(slot) = owned.remove(id, address) {
            self.free.push(slot.index);
        }
        if owned.is_empty() {
            self.taken.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_place_has_another_epoch() {
        let mut slots = SlotTable::default();
        let key = ServiceKey::parse("a").unwrap();
        let id = InstanceId::parse("1").unwrap();
        let (first, second) = (
            "127.0.0.1:1".parse().unwrap(),
            "127.0.0.1:2".parse().unwrap(),
        );
        let slot = slots.slot(&key, &id, first);
        assert_eq!(slots.slot(&key, &id, first), slot);
        slots.depart(&key, &id, first);
        assert!(!slots.is_live(slot));
        slots.release(&key, &id, first);
        let other = slots.slot(&key, &id, second);
        assert_eq!(other.index, slot.index);
        assert_ne!(other.epoch, slot.epoch);
    }
}
