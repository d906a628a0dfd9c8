//! A ring of the trail, and what of it is stored.
//!
//! It is stored in segments: the entries that came between two writes, under the number of the
//! first. The oldest segments go when those after them are enough. Memory holds the latest
//! entries only; the older ones are read from the store when somebody asks for them.

use std::collections::VecDeque;

use super::Entry;

/// Most entries of each ring.
pub(crate) const AUDIT_MAX: usize = 10_000;
/// Most entries of a segment.
const SEGMENT_MAX: usize = 256;
/// Entries of each ring that stay in memory once they are stored; more than a segment has.
pub(super) const MEMORY_MAX: usize = 1_000;

/// What a ring is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingKind {
    /// What operators change.
    Changes,
    /// Registrations and the like.
    Routine,
    /// Calls that were not let.
    Denials,
}

/// The entries of one kind that are remembered.
#[derive(Debug, Default)]
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    /// What is stored, oldest first.
    segments: VecDeque<Kept>,
    /// Entries from this number on are not stored, or have changed since.
    stored_until: u64,
}

/// A segment that is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// The numbers of its first and its last entry.
    pub(super) first: u64,
    pub(super) last: u64,
    count: usize,
}

/// What has to be done to have everything stored.
#[derive(Debug, Default)]
pub(crate) struct Unstored {
    /// Segments to be removed first, by their first numbers.
    pub(crate) remove: Vec<(RingKind, u64)>,
    /// Segments to be written.
    pub(crate) put: Vec<Segment>,
    /// Then all entries up to this number are stored.
    pub(crate) until: u64,
}

/// Entries that are stored together; at least one.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) kind: RingKind,
    pub(crate) entries: Vec<Entry>,
}

impl RingKind {
    pub(crate) const ALL: [Self; 3] = [Self::Changes, Self::Routine, Self::Denials];

    /// Its word in the store.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Changes => "change",
            Self::Routine => "routine",
            Self::Denials => "denial",
        }
    }
}

impl Segment {
    /// The number of its first entry.
    pub(crate) fn first(&self) -> u64 {
        self.entries.first().map_or(0, |entry| entry.sequence)
    }
}

impl Kept {
    fn of(entries: &[Entry]) -> Option<Self> {
        Some(Self {
            first: entries.first()?.sequence,
            last: entries.last()?.sequence,
            count: entries.len(),
        })
    }
}

impl Ring {
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.len() >= AUDIT_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// Counts an entry with the last one, if it repeats it.
    pub(super) fn repeats(&mut self, entry: &Entry) -> bool {
        let Some(before) = self
            .entries
            .back_mut()
            .filter(|before| is_same(before, entry))
        else {
            return false;
        };
        before.count = before.count.saturating_add(1);
        before.at = entry.at;
        let changed = before.sequence;
        self.store_from(changed);
        true
    }

    /// What is stored up to a number leaves memory, but for the latest entries.
    pub(super) fn forget(&mut self, stored: u64) {
        let stored = stored.min(self.stored_until);
        while self.entries.len() > MEMORY_MAX {
            if self
                .entries
                .front()
                .is_none_or(|oldest| oldest.sequence > stored)
            {
                return;
            }
            self.entries.pop_front();
        }
        // It is larger only after a store did not take anything for a while.
        self.entries.shrink_to(2 * MEMORY_MAX);
    }

    /// The number of the oldest entry in memory, and the segments with older ones, oldest first.
    pub(super) fn older(&self) -> (u64, Vec<Kept>) {
        let oldest = self.entries.front();
        let oldest = oldest.map_or(u64::MAX, |entry| entry.sequence);
        let older = self.segments.iter().filter(|kept| kept.first < oldest);
        (oldest, older.copied().collect())
    }

    /// Takes in a stored segment; they come oldest first.
    pub(super) fn recall(&mut self, segment: Vec<Entry>) {
        let Some(kept) = Kept::of(&segment) else {
            return;
        };
        self.stored_until = kept.last;
        self.segments.push_back(kept);
        for entry in segment {
            self.push(entry);
        }
        self.forget(kept.last);
    }

    /// Goes on after what was stored before, whose last number is `by`.
    pub(super) fn follow(&mut self, before: Self, by: u64) {
        let own = std::mem::replace(self, before);
        for mut entry in own.entries {
            entry.sequence = entry.sequence.saturating_add(by);
            self.push(entry);
        }
    }

    /// Entries from that number on have to be stored again.
    pub(super) fn store_from(&mut self, first: u64) {
        self.stored_until = self.stored_until.min(first.saturating_sub(1));
    }

    /// Whether there is anything to be stored.
    pub(super) fn has_unstored(&self) -> bool {
        let last = self.entries.back();
        last.is_some_and(|last| last.sequence > self.stored_until)
    }

    /// Takes what is not stored; what follows takes it for stored.
    pub(super) fn take_unstored(&mut self, kind: RingKind, unstored: &mut Unstored) {
        let Some(last) = self.entries.back().map(|entry| entry.sequence) else {
            return;
        };
        if !self.has_unstored() {
            return;
        }
        // A segment is written whole again if one of its entries has changed.
        while let Some(kept) = self.segments.pop_back() {
            if kept.last <= self.stored_until {
                self.segments.push_back(kept);
                break;
            }
            self.store_from(kept.first);
            unstored.remove.push((kind, kept.first));
        }
        let from = self
            .entries
            .partition_point(|entry| entry.sequence <= self.stored_until);
        let fresh: Vec<_> = self.entries.range(from..).cloned().collect();
        for entries in fresh.chunks(SEGMENT_MAX) {
            self.segments.extend(Kept::of(entries));
            let entries = entries.to_vec();
            unstored.put.push(Segment { kind, entries });
        }
        self.stored_until = last;
        let mut stored: usize = self.segments.iter().map(|kept| kept.count).sum();
        while let Some(oldest) = self.segments.front().copied() {
            stored = stored.saturating_sub(oldest.count);
            if stored < AUDIT_MAX {
                break;
            }
            self.segments.pop_front();
            unstored.remove.push((kind, oldest.first));
        }
    }
}

fn is_same(before: &Entry, entry: &Entry) -> bool {
    let of = |entry: &Entry| (entry.address, entry.status, entry.outcome);
    of(before) == of(entry)
        && before.listener == entry.listener
        && before.actor == entry.actor
        && before.method == entry.method
        && before.path == entry.path
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use portolan_model::{Revision, Timestamp};

    use super::{super::Outcome, *};

    fn entry(sequence: u64) -> Entry {
        Entry {
            sequence,
            at: Timestamp::from_millis(1),
            actor: "ci".into(),
            token: None,
            address: Ipv4Addr::LOCALHOST.into(),
            listener: "admin".into(),
            method: "PUT".into(),
            path: format!("/{sequence}").into(),
            object: None,
            status: 403,
            outcome: Outcome::Denied,
            revision: Revision::FIRST,
            count: 1,
        }
    }

    fn ring(entries: impl Iterator<Item = u64>) -> Ring {
        let mut ring = Ring::default();
        entries.for_each(|sequence| ring.push(entry(sequence)));
        ring
    }

    /// First numbers of what is removed and written, and how many entries each has.
    fn unstored(ring: &mut Ring) -> (Vec<u64>, Vec<(u64, usize)>) {
        let mut unstored = Unstored::default();
        ring.take_unstored(RingKind::Denials, &mut unstored);
        let put = unstored.put.iter();
        (
            unstored.remove.iter().map(|(_, first)| *first).collect(),
            put.map(|segment| (segment.first(), segment.entries.len()))
                .collect(),
        )
    }

    #[test]
    fn each_entry_is_stored_once() {
        let mut ring = ring(1..=300);
        assert_eq!(unstored(&mut ring), (vec![], vec![(1, 256), (257, 44)]));
        assert!(!ring.has_unstored());
        ring.push(entry(305));
        assert_eq!(unstored(&mut ring), (vec![], vec![(305, 1)]));
    }

    #[test]
    fn a_segment_is_written_again_if_its_last_entry_is_counted_up() {
        let mut ring = ring([3, 5, 9].into_iter());
        assert_eq!(unstored(&mut ring), (vec![], vec![(3, 3)]));
        let again = Entry {
            sequence: 0,
            ..entry(9)
        };
        assert!(ring.repeats(&again));
        assert_eq!(unstored(&mut ring), (vec![3], vec![(3, 3)]));
        assert_eq!(ring.entries.back().map(|entry| entry.count), Some(2));
    }

    #[test]
    fn what_could_not_be_stored_is_stored_the_next_time() {
        let mut ring = ring(1..=3);
        unstored(&mut ring);
        ring.push(entry(4));
        assert_eq!(unstored(&mut ring), (vec![], vec![(4, 1)]));
        ring.store_from(4);
        assert_eq!(unstored(&mut ring), (vec![4], vec![(4, 1)]));
    }

    #[test]
    fn no_more_segments_are_kept_than_are_needed_for_a_ring() {
        let mut ring = Ring::default();
        let mut kept = 0;
        for first in (1..=30_000).step_by(100) {
            (first..first + 100).for_each(|sequence| ring.push(entry(sequence)));
            let (removed, put) = unstored(&mut ring);
            kept = kept + put.len() - removed.len();
            assert!(kept <= AUDIT_MAX / 100);
        }
        assert_eq!((kept, ring.entries.len()), (AUDIT_MAX / 100, AUDIT_MAX));
    }

    #[test]
    fn memory_forgets_the_oldest_of_what_is_stored() {
        let mut ring = ring(1..=3_000);
        unstored(&mut ring);
        ring.push(entry(3_001));
        ring.forget(1_500);
        let oldest = |ring: &Ring| ring.older().0;
        assert_eq!(oldest(&ring), 1_501, "more was not confirmed");
        ring.forget(9_000);
        assert_eq!((oldest(&ring), ring.entries.len()), (2_002, MEMORY_MAX));
        let firsts: Vec<_> = ring.older().1.iter().map(|kept| kept.first).collect();
        assert_eq!((firsts[0], firsts[7], firsts.len()), (1, 1_793, 8));
    }

    #[test]
    fn what_is_not_stored_stays_in_memory() {
        let mut ring = ring(1..=3_000);
        unstored(&mut ring);
        ring.store_from(1);
        ring.forget(3_000);
        assert_eq!(ring.entries.len(), 3_000);
    }

    #[test]
    fn what_was_stored_comes_before_what_is_new() {
        let mut ring = ring(1..=2);
        let mut before = Ring::default();
        before.recall(vec![entry(4), entry(6)]);
        before.recall(vec![entry(7)]);
        ring.follow(before, 9);
        let numbers: Vec<_> = ring.entries().map(|entry| entry.sequence).collect();
        assert_eq!(numbers, [4, 6, 7, 10, 11]);
        assert_eq!(unstored(&mut ring), (vec![], vec![(10, 2)]));
    }
}
