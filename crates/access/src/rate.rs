//! How many requests a client may make: the generic cell rate algorithm, in a table whose
//! size does not grow with the number of clients.
//!
//! A client's cell is chosen by a keyed hash, so nobody can aim at another's. Clients that
//! fall into one cell share its rate, which a flood of addresses makes likelier and memory
//! does not pay for. A cell holds the time at which it is empty again.
//! Source: ITU-T I.371, annex A.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Cells of a table; a power of two.
const CELLS: usize = 1 << 14;

/// How many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In a second, in the long run.
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// Nanoseconds between two requests.
    fn interval(self) -> u64 {
        1_000_000_000_u64
            .checked_div(u64::from(self.per_second.get()))
            .unwrap_or(1)
            .max(1)
    }
}

/// Counts the requests of all clients.
#[derive(Debug)]
pub struct Meter {
    cells: Box<[AtomicU64]>,
}

impl Default for Meter {
    fn default() -> Self {
        let cells = std::iter::repeat_with(AtomicU64::default);
        Self {
            cells: cells.take(CELLS).collect(),
        }
    }
}

impl Meter {
    /// Counts a request of the client with that hash, at a time since the meter began.
    ///
    /// # Errors
    /// How long the client should wait before its next one.
    pub fn count(&self, client: u64, now: Duration, rate: Rate) -> Result<(), Duration> {
        let place = usize::try_from(client).unwrap_or(usize::MAX) & CELLS.saturating_sub(1);
        let Some(cell) = self.cells.get(place) else {
            return Ok(());
        };
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let interval = rate.interval();
        let room = interval.saturating_mul(u64::from(rate.burst.get()));
        let counted = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |empty_at| {
            let next = empty_at.max(now).saturating_add(interval);
            (next.saturating_sub(now) <= room).then_some(next)
        });
        counted.map(drop).map_err(|empty_at| {
            let next = empty_at.max(now).saturating_add(interval);
            Duration::from_nanos(next.saturating_sub(now).saturating_sub(room))
        })
    }
}
