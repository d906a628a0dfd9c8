//! When an endpoint last answered well and when it last refused a connection.
//!
//! Apart from the gauges that a pick reads, because nobody on the request path reads
//! these: the guard asks some times a minute. Like the gauges, a worker's marks are
//! written by that worker alone, with plain stores, and an answer costs one only if the
//! last is a while ago.
//!
//! Invariant: only the worker whose marks they are writes them.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use crate::{Millis, Slot};

/// Marks a chunk; a chunk is 24 KiB.
const CHUNK: usize = 1024;
/// Most chunks a worker: 2 million endpoints.
const CHUNKS_MAX: usize = 2048;
/// An answer so soon after the last one is not written down.
const GRAIN: Millis = 100;

/// What a request met at an endpoint last; both are none if there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// When it answered well, give or take a tenth of a second.
    pub answered: Option<Millis>,
    /// When it refused a connection.
    pub refused: Option<Millis>,
}

#[derive(Debug, Default)]
struct Mark {
    epoch: AtomicU32,
    /// One more than the time; 0 is never.
    answered: AtomicU64,
    refused: AtomicU64,
}

/// One worker's marks.
#[derive(Debug)]
pub(crate) struct Marks(Box<[OnceLock<Box<[Mark]>>]>);

impl Marks {
    pub(crate) fn new() -> Self {
        Self((0..CHUNKS_MAX).map(|_| OnceLock::new()).collect())
    }

    /// Marks that an endpoint answered well.
    pub(crate) fn answered(&self, slot: Slot, now: Millis) {
        let Some(mark) = self.write(slot) else {
            return;
        };
        let (last, now) = (mark.answered.load(Relaxed), now.saturating_add(1));
        if last == 0 || now.saturating_sub(last) >= GRAIN {
            mark.answered.store(now, Relaxed);
        }
    }

    /// Marks that an endpoint refused a connection.
    pub(crate) fn refused(&self, slot: Slot, now: Millis) {
        if let Some(mark) = self.write(slot) {
            mark.refused.store(now.saturating_add(1), Relaxed);
        }
    }

    /// What this worker met there.
    pub(crate) fn trace(&self, slot: Slot) -> Trace {
        let index = slot.index as usize;
        let chunk = self.0.get(index / CHUNK).and_then(OnceLock::get);
        let mark = chunk.and_then(|chunk| chunk.get(index % CHUNK));
        let mark = mark.filter(|mark| mark.epoch.load(Relaxed) == slot.epoch);
        let read = |cell: &AtomicU64| cell.load(Relaxed).checked_sub(1);
        Trace {
            answered: mark.and_then(|mark| read(&mark.answered)),
            refused: mark.and_then(|mark| read(&mark.refused)),
        }
    }

    /// The mark, made new if its place was used by another endpoint before.
    fn write(&self, slot: Slot) -> Option<&Mark> {
        let index = slot.index as usize;
        let chunk = self.0.get(index / CHUNK)?;
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| Mark::default()).collect());
        let mark = chunk.get(index % CHUNK)?;
        if mark.epoch.load(Relaxed) != slot.epoch {
            mark.answered.store(0, Relaxed);
            mark.refused.store(0, Relaxed);
            mark.epoch.store(slot.epoch, Relaxed);
        }
        Some(mark)
    }
}

impl Trace {
    /// What two workers met together.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            answered: self.answered.max(other.answered),
            refused: self.refused.max(other.refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot {
        index: 1500,
        epoch: 7,
    };

    fn trace(answered: Option<Millis>, refused: Option<Millis>) -> Trace {
        Trace { answered, refused }
    }

    #[test]
    fn the_last_answer_and_the_last_refusal_are_remembered() {
        let marks = Marks::new();
        assert_eq!(marks.trace(SLOT), Trace::default());
        marks.answered(SLOT, 0);
        marks.refused(SLOT, 50);
        assert_eq!(marks.trace(SLOT), trace(Some(0), Some(50)));
        marks.answered(SLOT, 99);
        assert_eq!(marks.trace(SLOT).answered, Some(0), "too soon to be news");
        marks.answered(SLOT, 100);
        assert_eq!(marks.trace(SLOT).answered, Some(100));
    }

    #[test]
    fn a_place_that_is_used_again_starts_from_nothing() {
        let marks = Marks::new();
        marks.refused(SLOT, 5);
        let reused = Slot { epoch: 8, ..SLOT };
        assert_eq!(marks.trace(reused), Trace::default());
        marks.answered(reused, 9);
        assert_eq!(marks.trace(reused), trace(Some(9), None));
        assert_eq!(marks.trace(SLOT), Trace::default());
    }

    #[test]
    fn the_later_of_two_workers_counts() {
        let (a, b) = (trace(Some(3), None), trace(Some(2), Some(1)));
        assert_eq!(a.with(b), trace(Some(3), Some(1)));
    }
}
