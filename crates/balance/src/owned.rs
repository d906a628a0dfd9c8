//! The slots of a service's addresses, in a list.
//!
//! There is an entry for each address of the catalogue, so entries are small and lie close
//! together: a hash table would take twice as much. Pools ask for slots in the order of ids,
//! so the place after the last one found is mostly the one that is asked for next.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use portolan_model::InstanceId;

use crate::Slot;

/// Slots by id and address.
///
/// Invariant: entries are in the order of ids, and no two are of the same id and address.
#[derive(Debug, Default)]
pub(crate) struct Owned {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: InstanceId,
    address: Address,
    slot: Slot,
}

/// An address in half of the room that [`SocketAddr`] takes; most are of version 4.
#[derive(Debug)]
enum Address {
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
}

impl Owned {
    /// The slot of that address, looked for at `hint` first.
    pub(crate) fn find(&self, id: &InstanceId, address: SocketAddr, hint: usize) -> Option<Found> {
        let is_it = |entry: &Entry| entry.id == *id && entry.address.get() == address;
        let hinted = self.entries.get(hint).filter(|entry| is_it(entry));
        let place = match hinted {
            Some(_) => hint,
            None => self.of_id(id).find(|place| is_it(&self.entries[*place]))?,
        };
        let slot = self.entries[place].slot;
        Some(Found { place, slot })
    }

    /// Puts in the slot of an address that has none.
    pub(crate) fn insert(&mut self, id: InstanceId, address: SocketAddr, slot: Slot) -> Found {
        let place = self.entries.partition_point(|entry| entry.id <= id);
        if self.entries.len() == self.entries.capacity() {
            // Doubling would leave a quarter of the room empty, and lists grow seldom.
            self.entries.reserve_exact(1 + self.entries.len() / 8);
        }
        let address = Address::new(address);
        self.entries.insert(place, Entry { id, address, slot });
        Found { place, slot }
    }

    /// Takes the slot of an address out.
    pub(crate) fn remove(&mut self, id: &InstanceId, address: SocketAddr) -> Option<Slot> {
        let Found { place, slot } = self.find(id, address, usize::MAX)?;
        self.entries.remove(place);
        if self.entries.len() < self.entries.capacity() / 2 {
            self.entries.shrink_to_fit();
        }
        Some(slot)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whose slots there are, and where.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&InstanceId, SocketAddr)> {
        let entries = self.entries.iter();
        entries.map(|entry| (&entry.id, entry.address.get()))
    }

    /// The slots of an instance.
    pub(crate) fn of_instance(&self, id: &InstanceId) -> impl Iterator<Item = Slot> {
        self.of_id(id).map(|place| self.entries[place].slot)
    }

    /// The places of an instance's addresses.
    fn of_id(&self, id: &InstanceId) -> impl Iterator<Item = usize> {
        let first = self.entries.partition_point(|entry| entry.id < *id);
        let same = self.entries[first..].iter();
        let count = same.take_while(|entry| entry.id == *id).count();
        first..first + count
    }
}

/// A slot, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) place: usize,
    pub(crate) slot: Slot,
}

impl Address {
    fn new(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::V4(address),
            SocketAddr::V6(address) => Self::V6(Box::new(address)),
        }
    }

    fn get(&self) -> SocketAddr {
        match self {
            Self::V4(address) => (*address).into(),
            Self::V6(address) => (**address).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> InstanceId {
        InstanceId::parse(text).unwrap()
    }

    fn slot(index: u32) -> Slot {
        Slot { index, epoch: 1 }
    }

    #[test]
    fn every_address_of_an_instance_has_its_slot() {
        let texts = ["10.0.0.1:1", "10.0.0.1:2", "[2001:db8::1]:1"];
        let addresses = texts.map(|text| text.parse::<SocketAddr>().unwrap());
        let ids = ["b", "a", "c"].map(id);
        let mut owned = Owned::default();
        let mut next = 0;
        for id in &ids {
            for address in addresses {
                owned.insert(id.clone(), address, slot(next));
                next += 1;
            }
        }
        for hint in [0, 4, 8, 9, usize::MAX] {
            let found = |address| owned.find(&ids[2], address, hint).map(|found| found.slot);
            assert_eq!(addresses.map(found), [6, 7, 8].map(|n| Some(slot(n))));
        }
        let of_a: Vec<_> = owned.of_instance(&ids[1]).collect();
        assert_eq!(
            of_a,
            [5, 4, 3].map(slot).into_iter().rev().collect::<Vec<_>>()
        );
        assert_eq!(owned.remove(&ids[1], addresses[1]), Some(slot(4)));
        assert_eq!(owned.remove(&ids[1], addresses[1]), None);
        assert_eq!(owned.find(&id("d"), addresses[0], 0), None);
        assert_eq!(owned.iter().count(), 8);
    }

    #[test]
    fn a_list_has_little_room_that_is_empty() {
        let address = "10.0.0.1:1".parse().unwrap();
        let mut owned = Owned::default();
        for number in 0..1000 {
            owned.insert(id(&format!("{number:04}")), address, slot(number));
        }
        assert!(owned.entries.capacity() <= 1125);
        for number in 0..990 {
            owned.remove(&id(&format!("{number:04}")), address);
        }
        assert!(owned.entries.capacity() <= 20);
        assert_eq!(size_of::<Entry>(), 40);
    }
}
