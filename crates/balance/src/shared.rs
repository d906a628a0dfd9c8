//! Gauges of a program whose requests wander between threads.
//!
//! A gateway's worker has a table to itself. In a program that uses the client library any
//! thread may pick, so that threads take turns at one table; a turn is some loads and
//! stores long.
//!
//! Invariant: a table that is shared this way is written by nobody else.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{Board, WorkerGauges};

/// A pen on the first table of a board that threads take turns to hold.
#[derive(Debug)]
pub struct SharedGauges {
    board: Arc<Board>,
    /// Held by whoever writes.
    turn: Mutex<()>,
}

impl SharedGauges {
    /// A pen on a board of its own.
    #[must_use]
    pub fn new() -> Self {
        Self {
            board: Board::new(1),
            turn: Mutex::new(()),
        }
    }

    /// The board, for readers.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Waits for its turn and writes. Must not be called from within `write`.
    pub fn write<T>(&self, write: impl FnOnce(&WorkerGauges) -> T) -> T {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        write(&WorkerGauges::for_a_turn(Arc::clone(&self.board)))
    }
}

impl Default for SharedGauges {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::Slot;

    #[test]
    fn no_count_is_lost_between_threads() {
        let gauges = SharedGauges::new();
        let slot = Slot { index: 3, epoch: 1 };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..1000).for_each(|_| gauges.write(|gauges| gauges.count_begun(slot)));
                    (0..999).for_each(|_| gauges.write(|gauges| gauges.count_ended(slot)));
                });
            }
        });
        assert_eq!(gauges.board().in_flight(slot), 4);
    }
}
