//! All leases, found by instance and by deadline.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
};

use hashbrown::HashTable;
use portolan_model::{InstanceId, ServiceKey};

use super::{Moment, Subject, lease::Lease};

/// A row's number: half the room of a pointer, for there are several to each lease.
type Place = u32;

/// Leases lie in places that are used again; the set of deadlines names places, and so does
/// the table of subjects, which the leases hold themselves.
///
/// Invariant: every lease stands exactly once in `deadlines`, under `armed`, which is
/// never after its own deadline; and once in `places`, by what [`hash_of`] gives.
#[derive(Debug, Default)]
pub(super) struct Leases {
    places: HashTable<Place>,
    hash: RandomState,
    rows: Rows,
    free: Vec<Place>,
    deadlines: BTreeSet<(u64, Place)>,
}

#[derive(Debug, Default)]
struct Rows(Vec<Option<Box<Row>>>);

#[derive(Debug)]
struct Row {
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
        self.rows.0.iter().flatten().map(|row| &row.lease)
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn get(&self, subject: &Subject) -> Option<&Lease> {
        let row = self.rows.get(self.place(subject)?)?;
        Some(&row.lease)
    }

    pub(super) fn find(&mut self, subject: &Subject) -> Option<&mut Lease> {
        let place = self.place(subject)?;
        let row = self.rows.get_mut(place)?;
        Some(&mut row.lease)
    }

    /// Puts in a lease that is not there.
    pub(super) fn insert(&mut self, lease: Lease) {
        let place = self.free.pop().unwrap_or_else(|| self.rows.grow());
        let (armed, shown) = (lease.deadline(), lease.shown());
        let hash = hash_of(&self.hash, &shown.key, &shown.id);
        self.deadlines.insert((armed, place));
        self.rows.0[place as usize] = Some(Box::new(Row { lease, armed }));
        let hash_at = |place: &Place| self.rows.hash(&self.hash, *place);
        self.places.insert_unique(hash, place, hash_at);
    }

    pub(super) fn remove(&mut self, subject: &Subject) -> Option<Lease> {
        let hash = hash_of(&self.hash, &subject.key, &subject.id);
        let is_it = |place: &Place| self.rows.is_of(*place, subject);
        let entry = self.places.find_entry(hash, is_it).ok()?;
        let (place, _) = entry.remove();
        let row = self.rows.0.get_mut(place as usize)?.take()?;
        self.deadlines.remove(&(row.armed, place));
        self.free.push(place);
        Some(row.lease)
    }

    /// Puts the set right after a deadline came nearer.
    pub(super) fn hasten(&mut self, subject: &Subject) {
        let place = self.place(subject);
        let row = place.and_then(|place| Some((place, self.rows.get_mut(place)?)));
        if let Some((place, row)) = row {
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
            let row = self.rows.get_mut(first.1)?;
            if row.lease.is_kept_by_check() {
                row.lease.renew(now);
            }
            if row.lease.deadline() <= millis {
                return Some((Subject::of(row.lease.shown()), row.lease.drain().is_some()));
            }
            self.deadlines.remove(&first);
            row.armed = row.lease.deadline();
            self.deadlines.insert((row.armed, first.1));
        }
        None
    }

    fn place(&self, subject: &Subject) -> Option<Place> {
        let hash = hash_of(&self.hash, &subject.key, &subject.id);
        let is_it = |place: &Place| self.rows.is_of(*place, subject);
        self.places.find(hash, is_it).copied()
    }
}

impl Rows {
    fn get(&self, place: Place) -> Option<&Row> {
        self.0.get(place as usize)?.as_deref()
    }

    fn get_mut(&mut self, place: Place) -> Option<&mut Row> {
        self.0.get_mut(place as usize)?.as_deref_mut()
    }

    /// A place more.
    fn grow(&mut self) -> Place {
        self.0.push(None);
        // Memory ends long before there are that many leases.
        Place::try_from(self.0.len() - 1).unwrap_or(Place::MAX)
    }

    fn is_of(&self, place: Place, subject: &Subject) -> bool {
        let shown = self.get(place).map(|row| row.lease.shown());
        shown.is_some_and(|shown| shown.id == subject.id && shown.key == subject.key)
    }

    fn hash(&self, hash: &RandomState, place: Place) -> u64 {
        let shown = self.get(place).map(|row| row.lease.shown());
        shown.map_or(0, |shown| hash_of(hash, &shown.key, &shown.id))
    }
}

fn hash_of(hash: &RandomState, key: &ServiceKey, id: &InstanceId) -> u64 {
    hash.hash_one((key, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_no_more_than_what_is_in_it() {
        assert_eq!(size_of::<Row>(), 48);
    }
}
