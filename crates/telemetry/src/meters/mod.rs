//! Counters that cost a load and a store.
//!
//! Each worker owns a table that only it writes, by a relaxed load and a relaxed
//! store; whoever reads sums over the workers. No cache line is written by two
//! workers, and no name is looked up per request: a service's [`Row`] is settled
//! when its cluster is made.
//!
//! Invariant: a `WorkerMeters` is the only writer of its table.

mod dns;
mod expose;
mod families;
mod histogram;
mod layout;
mod rows;
mod worker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portolan_model::ServiceKey;

pub use dns::DnsFacts;
pub use expose::{Facts, GuardFacts, LedgerFacts, SourceFacts};
pub use families::{Family, Kind, families};
pub use rows::Row;
pub use worker::{Count, Gauge, WorkerMeters};

use layout::Totals;
use rows::{Rows, Shown};
use worker::Table;

/// Every counter of the gateway.
#[derive(Debug)]
pub struct Meters {
    workers: Box<[Arc<Table>]>,
    /// Guards the names of the rows, never the numbers.
    rows: Mutex<Rows>,
}

impl Meters {
    /// Meters of that many workers; at least one.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers.max(1)).map(|_| Arc::default()).collect(),
            rows: Mutex::default(),
        }
    }

    /// The table of one worker, to be asked for once, on that worker's thread.
    /// Numbers beyond the last worker share the last one's table.
    #[must_use]
    pub fn worker(&self, number: usize) -> WorkerMeters {
        let last = self.workers.len() - 1;
        WorkerMeters::new(Arc::clone(&self.workers[number.min(last)]))
    }

    /// The row of a service, made when it has none. [`Row::OTHER`] when all are taken.
    #[must_use]
    pub fn row(&self, service: &ServiceKey) -> Row {
        self.names().assign(service, |row| self.totals(row))
    }

    /// Says that a service is gone: its row is shown once more and may then be given to
    /// another. Numbers of requests still under way then count for that other.
    pub fn release(&self, service: &ServiceKey) {
        self.names().release(service);
    }

    fn shown(&self) -> Vec<Shown> {
        self.names().show()
    }

    /// What all workers together counted in a row, ever.
    fn totals(&self, row: Row) -> Totals {
        let mut totals = Totals::default();
        for table in &self.workers {
            table.add_row_to(row, &mut totals);
        }
        totals
    }

    fn names(&self) -> MutexGuard<'_, Rows> {
        // Names are changed in one step, so a panic elsewhere leaves them whole.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
