//! All leases, found by instance and by deadline.

use std::collections::{BTreeSet, HashMap};

use super::{Moment, Subject, lease::Lease};

/// Leases lie in places that are used again; the set of deadlines names places.
///
/// Invariant: every lease stands exactly once in `deadlines`, under `armed`, which is
/// never after its own deadline.
#[derive(Debug, Default)]
pub(super) struct Leases {
    places: HashMap<Subject, usize>,
    rows: Vec<Option<Box<Row>>>,
    free: Vec<usize>,
    deadlines: BTreeSet<(u64, usize)>,
}

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
        self.places.contains_key(subject)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.rows.iter().flatten().map(|row| &row.lease)
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn get(&self, subject: &Subject) -> Option<&Lease> {
        let row = self.rows.get(*self.places.get(subject)?)?.as_ref()?;
        Some(&row.lease)
    }

    pub(super) fn find(&mut self, subject: &Subject) -> Option<&mut Lease> {
        let place = *self.places.get(subject)?;
        let row = self.rows.get_mut(place)?.as_mut()?;
        Some(&mut row.lease)
    }

    /// Puts in a lease that is not there.
    pub(super) fn insert(&mut self, subject: Subject, lease: Lease) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.rows.push(None);
            self.rows.len() - 1
        });
        let armed = lease.deadline();
        self.places.insert(subject, place);
        self.deadlines.insert((armed, place));
        self.rows[place] = Some(Box::new(Row { lease, armed }));
    }

    pub(super) fn remove(&mut self, subject: &Subject) -> Option<Lease> {
        let place = self.places.remove(subject)?;
        let row = self.rows.get_mut(place)?.take()?;
        self.deadlines.remove(&(row.armed, place));
        self.free.push(place);
        Some(row.lease)
    }

    /// Puts the set right after a deadline came nearer.
    pub(super) fn hasten(&mut self, subject: &Subject) {
        let place = self.places.get(subject).copied();
        let row = place.and_then(|place| Some((place, self.rows.get_mut(place)?.as_mut()?)));
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
            let row = self.rows.get_mut(first.1)?.as_mut()?;
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
}
