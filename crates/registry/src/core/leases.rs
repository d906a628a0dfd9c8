//! All leases, found by instance and by deadline.
//!
//! There is a lease for each instance and a look-up for each sign of life, so what counts is
//! how little a lease takes, and how few pieces of memory a look-up touches one after the other:
//! a row has its subject beside it although its instance has it, too.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
};

use hashbrown::HashTable;

use super::{Moment, Subject, lease::Lease};

/// A row's number.
type Place = u32;

/// Leases lie in places that are used again; the table of subjects and the set of deadlines
/// name places.
///
/// Invariants: every lease stands exactly once in `deadlines`, under `armed`, which is
/// never after its own deadline; and exactly once in `places`, under its subject's hash.
#[derive(Debug, Default)]
pub(super) struct Leases {
    places: HashTable<(Hash, Place)>,
    hash: RandomState,
    rows: Vec<Option<Row>>,
    free: Vec<Place>,
    deadlines: BTreeSet<(u64, Place)>,
}

/// What a subject is looked up by. It is kept, so that a table that grows needs no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hash(u32);

#[derive(Debug)]
struct Row {
    subject: Subject,
    lease: Lease,
    /// Where it stands in the set of deadlines.
    armed: u64,
}

impl Leases {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn has(&self, subject: &Subject) -> bool {
        self.place(subject).is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.rows.iter().flatten().map(|row| &row.lease)
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn get(&self, subject: &Subject) -> Option<&Lease> {
        let row = self.rows.get(self.place(subject)? as usize)?.as_ref()?;
        Some(&row.lease)
    }

    pub(super) fn find(&mut self, subject: &Subject) -> Option<&mut Lease> {
        let place = self.place(subject)?;
        let row = self.rows.get_mut(place as usize)?.as_mut()?;
        Some(&mut row.lease)
    }

    /// Puts in a lease that is not there.
    pub(super) fn insert(&mut self, subject: Subject, lease: Lease) {
        let place = self.free.pop().unwrap_or_else(|| self.grow());
        let (armed, hash) = (lease.deadline(), self.hash_of(&subject));
        self.deadlines.insert((armed, place));
        self.rows[place as usize] = Some(Row {
            subject,
            lease,
            armed,
        });
        let entry = (hash, place);
        self.places
            .insert_unique(hash.spread(), entry, |(hash, _)| hash.spread());
    }

    pub(super) fn remove(&mut self, subject: &Subject) -> Option<Lease> {
        let (hash, place) = (self.hash_of(subject), self.place(subject)?);
        let entry = self
            .places
            .find_entry(hash.spread(), |entry| entry.1 == place);
        entry.ok()?.remove();
        let row = self.rows.get_mut(place as usize)?.take()?;
        self.deadlines.remove(&(row.armed, place));
        self.free.push(place);
        Some(row.lease)
    }

    /// Puts the set right after a deadline came nearer.
    pub(super) fn hasten(&mut self, subject: &Subject) {
        let Some(place) = self.place(subject) else {
            return;
        };
        if let Some(Some(row)) = self.rows.get_mut(place as usize) {
            self.deadlines.remove(&(row.armed, place));
            row.armed = row.lease.deadline();
            self.deadlines.insert((row.armed, place));
        }
    }

    /// The next lease whose time is over, and whether it was leaving. Those that got a
    /// sign of life meanwhile are put back.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<(Subject, bool)> {
        let millis = u64::try_from(now.uptime.as_millis()).unwrap_or(u64::MAX);
        while let Some(first) = self
            .deadlines
            .first()
            .copied()
            .filter(|first| first.0 <= millis)
        {
            let row = self.rows.get_mut(first.1 as usize)?.as_mut()?;
            if row.lease.is_kept_by_check() {
                row.lease.renew(now);
            }
            if row.lease.deadline() <= millis {
                return Some((row.subject.clone(), row.lease.drain().is_some()));
            }
            self.deadlines.remove(&first);
            row.armed = row.lease.deadline();
            self.deadlines.insert((row.armed, first.1));
        }
        None
    }

    fn place(&self, subject: &Subject) -> Option<Place> {
        let hash = self.hash_of(subject);
        let is_it = |entry: &(Hash, Place)| self.is_of(*entry, hash, subject);
        let (_, place) = self.places.find(hash.spread(), is_it)?;
        Some(*place)
    }

    fn is_of(&self, (known, place): (Hash, Place), hash: Hash, subject: &Subject) -> bool {
        let row = self.rows.get(place as usize);
        known == hash && matches!(row, Some(Some(row)) if row.subject == *subject)
    }

    fn hash_of(&self, subject: &Subject) -> Hash {
        Hash(u32::try_from(self.hash.hash_one(subject) >> u32::BITS).unwrap_or_default())
    }

    /// A place more.
    fn grow(&mut self) -> Place {
        if self.rows.len() == self.rows.capacity() {
            // Doubling would leave a quarter of the room empty.
            self.rows.reserve_exact(16 + self.rows.len() / 8);
        }
        self.rows.push(None);
        // Memory ends long before there are that many leases.
        Place::try_from(self.rows.len() - 1).unwrap_or(Place::MAX)
    }
}

impl Hash {
    /// As many bits as a table takes: it picks the place by the lower ones, and by the upper
    /// ones it tells apart what is in one place.
    fn spread(self) -> u64 {
        // 2^64 over the golden ratio, an odd number whose bits look like chance.
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_no_more_than_what_is_in_it() {
        assert_eq!(size_of::<Option<Row>>(), size_of::<Subject>() + 56);
    }
}
