//! The table that one worker writes.

use std::{
    marker::PhantomData,
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use portolan_model::{Cause, http::Status};

use crate::Outcome;

use super::{
    histogram, layout,
    layout::{CAUSES, Totals, WIDTH},
    rows::{RESERVED, Row, SERVICES_MAX},
};

/// Rows that are allocated together, when the first of them is written.
const CHUNK_ROWS: usize = 32;
const CHUNKS: usize = (RESERVED + SERVICES_MAX).div_ceil(CHUNK_ROWS);

macro_rules! numbered {
    ($(#[doc = $about:literal])+ $type:ident { $($(#[doc = $doc:literal])+ $variant:ident,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type { $($(#[doc = $doc])+ $variant,)+ }

        impl $type {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];
        }
    };
}

numbered! {
    /// What a worker counts besides requests.
    Count {
        /// A client's connection was accepted.
        ConnectionAccepted,
        /// A client's connection ended.
        ConnectionClosed,
        /// A request began; `finish` ends it.
        RequestStarted,
        /// A connection to an instance was opened.
        UpstreamOpened,
        /// A connection to an instance ended.
        UpstreamClosed,
        /// A request went over a kept connection.
        UpstreamReused,
        /// A request panicked and was answered 500.
        Panicked,
    }
}

numbered! {
    /// What a worker has right now.
    Gauge {
        /// Connections to instances that wait in the pool.
        UpstreamIdle,
    }
}

/// One worker's cells. Aligned, so that no cache line holds two workers' cells.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Table {
    counts: [AtomicU64; Count::ALL.len()],
    gauges: [AtomicU64; Gauge::ALL.len()],
    finished: AtomicU64,
    refused: [AtomicU64; CAUSES],
    chunks: Box<[OnceLock<Box<[Cells]>>]>,
}

type Cells = [AtomicU64; WIDTH];

impl Default for Table {
    fn default() -> Self {
        Self {
            counts: zeros(),
            gauges: zeros(),
            finished: AtomicU64::new(0),
            refused: zeros(),
            chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
        }
    }
}

impl Table {
    pub(super) fn count(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Relaxed)
    }

    pub(super) fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge as usize].load(Relaxed)
    }

    pub(super) fn finished(&self) -> u64 {
        self.finished.load(Relaxed)
    }

    pub(super) fn refused(&self, cause: Cause) -> u64 {
        self.refused[cause as usize].load(Relaxed)
    }

    pub(super) fn add_row_to(&self, row: Row, totals: &mut Totals) {
        let (chunk, place) = position(row);
        if let Some(cells) = self.chunks[chunk].get() {
            for (total, cell) in totals.0.iter_mut().zip(&cells[place]) {
                *total = total.wrapping_add(cell.load(Relaxed));
            }
        }
    }

    fn row(&self, row: Row) -> &Cells {
        let (chunk, place) = position(row);
        let cells = self.chunks[chunk].get_or_init(|| (0..CHUNK_ROWS).map(|_| zeros()).collect());
        &cells[place]
    }
}

/// The one writer of a worker's table. Stays on its thread; clones write the same table.
#[derive(Clone, Debug)]
pub struct WorkerMeters {
    table: Arc<Table>,
    /// Keeps the writer on one thread: an increment is two steps.
    one_thread: PhantomData<Rc<()>>,
}

impl WorkerMeters {
    pub(super) const fn new(table: Arc<Table>) -> Self {
        Self {
            table,
            one_thread: PhantomData,
        }
    }

    /// Counts one.
    pub fn count(&self, count: Count) {
        add(&self.table.counts[count as usize], 1);
    }

    /// Sets what the worker has now.
    pub fn set(&self, gauge: Gauge, value: usize) {
        self.table.gauges[gauge as usize].store(value as u64, Relaxed);
    }

    /// Counts a connection that ended before it brought a request.
    pub fn refuse(&self, cause: Cause) {
        add(&self.table.refused[cause as usize], 1);
    }

    /// Counts a request that ended.
    pub fn finish(&self, row: Row, outcome: &Outcome) {
        add(&self.table.finished, 1);
        let cells = self.table.row(row);
        add(&cells[layout::CLASS + class(outcome)], 1);
        if let Some(cause) = outcome.cause {
            add(&cells[layout::CAUSE + cause as usize], 1);
        }
        let timers = &outcome.timers;
        observe(cells, layout::TOTAL, histogram::micros(timers.total));
        if let Some(span) = timers.first_byte {
            observe(cells, layout::FIRST_BYTE, histogram::micros(span));
        }
        add(&cells[layout::RECEIVED], outcome.received_bytes);
        add(&cells[layout::SENT], outcome.sent_bytes);
        let retries = outcome.attempts.saturating_sub(1);
        if retries > 0 {
            add(&cells[layout::RETRIES], u64::from(retries));
        }
    }
}

/// A relaxed load and store: enough for one writer, and no locked instruction.
fn add(cell: &AtomicU64, amount: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
}

fn observe(cells: &Cells, first: usize, micros: u64) {
    add(&cells[first + histogram::bucket(micros)], 1);
    add(&cells[first + histogram::SUM], micros);
}

/// The place of an outcome's class; codes from 600 on count with 5xx.
fn class(outcome: &Outcome) -> usize {
    let class = outcome.status.map_or(0, Status::class);
    usize::from(class).min(layout::CLASSES.len() - 1)
}

fn position(row: Row) -> (usize, usize) {
    (row.index() / CHUNK_ROWS, row.index() % CHUNK_ROWS)
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}
