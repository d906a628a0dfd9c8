//! Addresses that have left, and when their slots are free again.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, PoisonError},
};

use portolan_model::{Instance, InstanceId, NamedPort, ServiceKey};

use super::Publisher;

/// An address that an instance had.
pub(super) type Departed = (ServiceKey, InstanceId, SocketAddr);

impl Publisher {
    /// Remembers addresses that were there before and are not now.
    pub(super) fn note_departures<'a>(&mut self, changed: impl Iterator<Item = &'a ServiceKey>) {
        let before = self.view.snapshot();
        for key in changed {
            let addresses = |instance: &Instance| -> Vec<Departed> {
                let departed = |port: &NamedPort| (key.clone(), instance.id.clone(), port.address);
                instance.endpoints.iter().map(departed).collect()
            };
            let old = before
                .catalog
                .service(key)
                .map(|service| &service.instances);
            let new = self.fold.service(key).map(|service| &service.instances);
            let old = old.map_or(&[][..], Vec::as_slice);
            let new = new.map_or(&[][..], Vec::as_slice);
            // Who is as before has no address that left or came.
            let now: BTreeSet<Departed> = new
                .iter()
                .filter(|instance| !is_among(old, instance))
                .flat_map(|instance| addresses(instance))
                .collect();
            let gone = old
                .iter()
                .filter(|instance| !is_among(new, instance))
                .flat_map(|instance| addresses(instance));
            self.departed
                .extend(gone.filter(|departed| !now.contains(departed)));
            self.welcome_back(&now);
        }
        let slots = &mut *self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, id, address) in &self.departed {
            slots.depart(key, id, *address);
        }
    }

    /// Forgets the departure of addresses that are there again. Who comes back is somebody else:
    /// it gets a slot of its own, so that no connection to its predecessor is used for it. Only
    /// while requests to the predecessor are under way it keeps the slot that counts them.
    fn welcome_back(&mut self, now: &BTreeSet<Departed>) {
        let slots = &mut *self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let board = &self.board;
        keep_departed(&mut self.departed, |departed| {
            let is_back = now.contains(departed);
            let (key, id, address) = departed;
            if is_back
                && let Some(slot) = slots.find(key, id, *address)
                && board.in_flight(slot) == 0
            {
                slots.release(key, id, *address);
            }
            !is_back
        });
    }

    /// Frees slots of departed addresses whose requests have ended. They were left out of the
    /// snapshot before this one at the earliest, so a worker may at worst count one request on a
    /// slot that nobody uses.
    pub(super) fn release_slots(&mut self) {
        let slots = &mut *self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let revision = self.view.snapshot().revision();
        if !self.view.have_passed(revision) {
            return;
        }
        let board = &self.board;
        keep_departed(&mut self.departed, |(key, id, address)| {
            let Some(slot) = slots.find(key, id, *address) else {
                return false;
            };
            let busy = board.in_flight(slot) > 0;
            if !busy {
                slots.release(key, id, *address);
            }
            busy
        });
    }
}

/// Keeps those that `keep` says. The last is asked first: a list of slots is sorted as they are, and
/// to release its last one moves none of the others.
fn keep_departed(departed: &mut BTreeSet<Departed>, mut keep: impl FnMut(&Departed) -> bool) {
    let all = std::mem::take(departed).into_iter().rev();
    *departed = all.filter(|one| keep(one)).collect();
}

/// Whether that very instance is among some that are sorted by id.
fn is_among(instances: &[Arc<Instance>], instance: &Arc<Instance>) -> bool {
    let place = instances.binary_search_by(|known| known.id.cmp(&instance.id));
    let known = place.ok().and_then(|place| instances.get(place));
    known.is_some_and(|known| Arc::ptr_eq(known, instance))
}
