//! What workers measure about endpoints: in flight, latency, ejection.
//!
//! One table a worker, written by that worker alone with plain loads and stores,
//! read by all. Tables grow by chunks that never move, so readers need no lock.
//!
//! Invariant: only the thread that owns a [`WorkerGauges`] writes its table.
//! Source of the latency gauge: EWMA over time as in Finagle and linkerd2-proxy, but without
//! holding peaks: one slow answer must not starve an endpoint.

use std::{
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    Slot,
    marks::{Marks, Trace},
};

/// Milliseconds since the gateway started, from a coarse clock.
pub type Millis = u64;

/// Gauges a chunk; a chunk is 32 KiB.
const CHUNK: usize = 1024;
/// Most chunks a worker: 2 million endpoints.
const CHUNKS_MAX: usize = 2048;
/// Milliseconds after which the average latency of a silent endpoint is taken for half of it,
/// so that it is tried again.
const FADE: f32 = 2_000.0;
/// Milliseconds of samples that the average latency looks back on.
const WINDOW: f32 = 100.0;
/// The least that a sample above the average counts: trouble shows faster than its end.
const RISE: f32 = 0.1;

/// The bit among the ejections that says that the endpoint is tried out.
const TRIAL: u32 = 1 << 31;

#[derive(Debug, Default)]
struct Gauge {
    epoch: AtomicU32,
    in_flight: AtomicU32,
    /// Moving average of the time to the first byte, microseconds, as bits of an f32; 0 = no sample.
    latency: AtomicU32,
    /// Times ejected in a row, and [`TRIAL`].
    ejections: AtomicU32,
    sampled_at: AtomicU64,
    ejected_until: AtomicU64,
}

type Chunk = Box<[Gauge]>;

#[derive(Debug)]
struct Table(Box<[OnceLock<Chunk>]>);

impl Table {
    fn new() -> Self {
        Self((0..CHUNKS_MAX).map(|_| OnceLock::new()).collect())
    }

    /// The gauge, if the owner has written it in this epoch.
    fn read(&self, slot: Slot) -> Option<&Gauge> {
        let index = slot.index as usize;
        let gauge = self.0.get(index / CHUNK)?.get()?.get(index % CHUNK)?;
        (gauge.epoch.load(Relaxed) == slot.epoch).then_some(gauge)
    }

    /// The gauge, made new if its place was used by another endpoint before.
    fn write(&self, slot: Slot) -> Option<&Gauge> {
        let index = slot.index as usize;
        let chunk = self.0.get(index / CHUNK)?;
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| Gauge::default()).collect());
        let gauge = chunk.get(index % CHUNK)?;
        if gauge.epoch.load(Relaxed) != slot.epoch {
            gauge.in_flight.store(0, Relaxed);
            gauge.latency.store(0, Relaxed);
            gauge.ejections.store(0, Relaxed);
            gauge.sampled_at.store(0, Relaxed);
            gauge.ejected_until.store(0, Relaxed);
            gauge.epoch.store(slot.epoch, Relaxed);
        }
        Some(gauge)
    }
}

/// The tables of all workers.
#[derive(Debug)]
pub struct Board {
    tables: Box<[Table]>,
    /// What the guard asks for; no pick reads it.
    marks: Box<[Marks]>,
}

impl Board {
    /// A board for that many workers.
    #[must_use]
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            tables: (0..workers.max(1)).map(|_| Table::new()).collect(),
            marks: (0..workers.max(1)).map(|_| Marks::new()).collect(),
        })
    }

    /// How many workers write here.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.tables.len()
    }

    /// Requests under way at the endpoint, from all workers.
    #[must_use]
    pub fn in_flight(&self, slot: Slot) -> u32 {
        let count = |table: &Table| {
            table
                .read(slot)
                .map_or(0, |gauge| gauge.in_flight.load(Relaxed))
        };
        self.tables.iter().map(count).sum()
    }

    /// What requests of all workers met at the endpoint last.
    #[must_use]
    pub fn trace(&self, slot: Slot) -> Trace {
        let traces = self.marks.iter().map(|marks| marks.trace(slot));
        traces.fold(Trace::default(), Trace::with)
    }

    /// Until when the endpoint is ejected, the longest of all workers; 0 if it is not.
    #[must_use]
    pub fn ejected_until(&self, slot: Slot) -> Millis {
        let until = |table: &Table| {
            table
                .read(slot)
                .map_or(0, |g| g.ejected_until.load(Relaxed))
        };
        self.tables.iter().map(until).max().unwrap_or(0)
    }
}

/// One worker's pen on the board. Not `Send`: there is one writer.
#[derive(Clone, Debug)]
pub struct WorkerGauges(Holder);

/// Who holds the pen.
#[derive(Clone, Debug)]
enum Holder {
    /// A worker, whose requests in flight hold it, too.
    Worker(Rc<Pen>),
    /// A thread whose turn it is.
    Turn(Pen),
}

#[derive(Clone, Debug)]
struct Pen {
    board: Arc<Board>,
    worker: usize,
}

/// How loaded and how slow an endpoint looks to a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Look {
    /// Requests under way, from all workers.
    pub(crate) in_flight: u32,
    /// Latency in microseconds, faded by its age; `None` without a sample.
    pub(crate) latency: Option<f32>,
    /// Whether it is ejected at the moment.
    pub(crate) ejected: bool,
}

impl WorkerGauges {
    /// The pen of that worker. Make one a worker, on its thread.
    ///
    /// # Panics
    /// If there is no such worker.
    #[must_use]
    pub fn new(board: Arc<Board>, worker: usize) -> Self {
        assert!(worker < board.workers(), "worker {worker} has no table");
        Self(Holder::Worker(Rc::new(Pen { board, worker })))
    }

    /// The pen on the first table, for a short while: making it allocates nothing.
    pub(crate) const fn for_a_turn(board: Arc<Board>) -> Self {
        Self(Holder::Turn(Pen { board, worker: 0 }))
    }

    fn pen(&self) -> &Pen {
        match &self.0 {
            Holder::Worker(pen) => pen,
            Holder::Turn(pen) => pen,
        }
    }

    /// The worker's index.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.pen().worker
    }

    /// The tables of all workers.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.pen().board
    }

    fn table(&self) -> &Table {
        let pen = self.pen();
        &pen.board.tables[pen.worker]
    }

    /// Counts a request until the answer is dropped.
    #[must_use]
    pub fn begin(&self, slot: Slot) -> InFlight {
        self.count_begun(slot);
        InFlight {
            gauges: self.clone(),
            slot,
        }
    }

    /// Counts a request until [`Self::count_ended`] is told of it.
    pub fn count_begun(&self, slot: Slot) {
        if let Some(gauge) = self.table().write(slot) {
            gauge
                .in_flight
                .store(gauge.in_flight.load(Relaxed) + 1, Relaxed);
        }
    }

    /// A request that was counted has ended.
    pub fn count_ended(&self, slot: Slot) {
        // After the place was given to another endpoint there is nothing to count down.
        if let Some(gauge) = self.table().read(slot) {
            gauge
                .in_flight
                .store(gauge.in_flight.load(Relaxed).saturating_sub(1), Relaxed);
        }
    }

    /// Takes in how long an endpoint took to its first byte.
    pub fn observe(&self, slot: Slot, latency: Duration, now: Millis) {
        let Some(gauge) = self.table().write(slot) else {
            return;
        };
        take_in(gauge, sample(latency), now);
        let ejections = gauge.ejections.load(Relaxed);
        if ejections != 0 {
            gauge.ejections.store(0, Relaxed);
        }
        if ejections & TRIAL != 0 {
            gauge.ejected_until.store(0, Relaxed);
        }
    }

    /// Takes in that a request was given up after so long without an answer: the latency is
    /// at least that. Says nothing of an endpoint that is known to be slower.
    pub fn observe_at_least(&self, slot: Slot, latency: Duration, now: Millis) {
        if let Some(gauge) = self.table().write(slot)
            && sample(latency) > f32::from_bits(gauge.latency.load(Relaxed))
        {
            take_in(gauge, sample(latency), now);
        }
    }

    /// Marks that an endpoint answered well.
    pub fn answered(&self, slot: Slot, now: Millis) {
        self.board().marks[self.worker()].answered(slot, now);
    }

    /// Marks that an endpoint refused a connection.
    pub fn refused(&self, slot: Slot, now: Millis) {
        self.board().marks[self.worker()].refused(slot, now);
    }

    /// Ejects an endpoint that refused a connection: `base`, times how often in a row, at most
    /// ten times.
    pub fn eject(&self, slot: Slot, base: Duration, now: Millis) {
        let Some(gauge) = self.table().write(slot) else {
            return;
        };
        let times = (gauge.ejections.load(Relaxed) & !TRIAL).min(9) + 1;
        gauge.ejections.store(times, Relaxed);
        let span = u64::try_from(base.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_mul(times.into());
        gauge.ejected_until.store(now.saturating_add(span), Relaxed);
    }

    /// Tries out an endpoint whose ejection is over: until it has answered, others are not sent
    /// there for that long, so that one request finds out and not all. Nothing otherwise. Says
    /// whether that is so.
    #[must_use]
    pub fn try_out(&self, slot: Slot, span: Duration, now: Millis) -> bool {
        let Some(gauge) = self.table().read(slot) else {
            return false;
        };
        let ejections = gauge.ejections.load(Relaxed);
        if ejections == 0 || gauge.ejected_until.load(Relaxed) > now {
            return false;
        }
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        gauge.ejections.store(ejections | TRIAL, Relaxed);
        gauge.ejected_until.store(now.saturating_add(span), Relaxed);
        true
    }

    /// Whoever was to try an endpoint out did not: the next request does. Nothing if it is not
    /// tried out any more.
    pub fn put_off(&self, slot: Slot) {
        let Some(gauge) = self.table().read(slot) else {
            return;
        };
        let ejections = gauge.ejections.load(Relaxed);
        if ejections & TRIAL != 0 {
            gauge.ejections.store(ejections & !TRIAL, Relaxed);
            gauge.ejected_until.store(0, Relaxed);
        }
    }

    /// Whether the endpoint is tried out, and has not answered yet.
    #[must_use]
    pub fn is_tried_out(&self, slot: Slot) -> bool {
        let gauge = self.table().read(slot);
        gauge.is_some_and(|gauge| gauge.ejections.load(Relaxed) & TRIAL != 0)
    }

    pub(crate) fn look(&self, slot: Slot, now: Millis) -> Look {
        let mut look = Look {
            in_flight: 0,
            latency: None,
            ejected: false,
        };
        let pen = self.pen();
        for (index, table) in pen.board.tables.iter().enumerate() {
            let Some(gauge) = table.read(slot) else {
                continue;
            };
            look.in_flight += gauge.in_flight.load(Relaxed);
            look.ejected |= gauge.ejected_until.load(Relaxed) > now;
            let latency = f32::from_bits(gauge.latency.load(Relaxed));
            if latency > 0.0 && (index == pen.worker || look.latency.is_none()) {
                look.latency = Some(latency * FADE / (FADE + age(gauge, now)));
            }
        }
        look
    }
}

/// Brings the average of an endpoint up to date.
fn take_in(gauge: &Gauge, sample: f32, now: Millis) {
    let before = f32::from_bits(gauge.latency.load(Relaxed));
    let age = age(gauge, now);
    let age = age.max(1.0);
    let share = age / (age + WINDOW);
    let average = if before == 0.0 {
        sample
    } else if sample > before {
        before + (sample - before) * share.max(RISE)
    } else {
        before + (sample - before) * share
    };
    gauge.latency.store(average.to_bits(), Relaxed);
    gauge.sampled_at.store(now, Relaxed);
}

/// A latency in microseconds; never 0, which stands for none.
#[expect(
    clippy::cast_precision_loss,
    reason = "an estimate needs no more than 24 bits"
)]
fn sample(latency: Duration) -> f32 {
    // Of 64 bits: to turn 128 into a float takes a routine.
    u64::try_from(latency.as_micros()).map_or(f32::MAX, |micros| micros.max(1) as f32)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an estimate needs no more than 24 bits"
)]
fn age(gauge: &Gauge, now: Millis) -> f32 {
    now.saturating_sub(gauge.sampled_at.load(Relaxed)) as f32
}

/// A request under way at an endpoint; dropping it ends the count.
#[derive(Debug)]
pub struct InFlight {
    gauges: WorkerGauges,
    slot: Slot,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gauges.count_ended(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot {
        index: 1500,
        epoch: 7,
    };

    #[test]
    fn in_flight_is_the_sum_of_all_workers() {
        let board = Board::new(2);
        let (a, b) = (
            WorkerGauges::new(Arc::clone(&board), 0),
            WorkerGauges::new(Arc::clone(&board), 1),
        );
        let (one, two) = (a.begin(SLOT), b.begin(SLOT));
        assert_eq!(a.look(SLOT, 0).in_flight, 2);
        drop(one);
        assert_eq!(board.in_flight(SLOT), 1);
        drop(two);
        assert_eq!(board.in_flight(SLOT), 0);
    }

    #[test]
    fn a_new_epoch_starts_from_nothing() {
        let gauges = WorkerGauges::new(Board::new(1), 0);
        let old = gauges.begin(SLOT);
        gauges.eject(SLOT, Duration::from_secs(10), 0);
        let reused = Slot { epoch: 8, ..SLOT };
        let new = gauges.begin(reused);
        assert_eq!(
            gauges.look(reused, 0),
            Look {
                in_flight: 1,
                latency: None,
                ejected: false
            }
        );
        drop(old);
        assert_eq!(gauges.look(reused, 0).in_flight, 1);
        drop(new);
        assert_eq!(gauges.look(reused, 0).in_flight, 0);
    }

    #[test]
    fn ejection_grows_and_ends() {
        let gauges = WorkerGauges::new(Board::new(1), 0);
        gauges.eject(SLOT, Duration::from_secs(1), 0);
        assert!(gauges.look(SLOT, 999).ejected);
        assert!(!gauges.look(SLOT, 1000).ejected);
        gauges.eject(SLOT, Duration::from_secs(1), 1000);
        assert!(gauges.look(SLOT, 2999).ejected);
        assert!(!gauges.look(SLOT, 3000).ejected);
    }

    #[test]
    fn one_request_finds_out_whether_an_ejected_endpoint_is_back() {
        let gauges = WorkerGauges::new(Board::new(1), 0);
        let second = Duration::from_secs(1);
        assert!(!gauges.try_out(SLOT, second, 0));
        gauges.eject(SLOT, second, 0);
        // There is nothing to find out before its end.
        assert!(!gauges.try_out(SLOT, second, 999));
        assert!(!gauges.is_tried_out(SLOT));
        assert!(gauges.try_out(SLOT, second, 1000));
        assert!(gauges.is_tried_out(SLOT));
        assert!(gauges.look(SLOT, 1999).ejected);
        assert!(!gauges.look(SLOT, 2000).ejected);
        assert!(gauges.try_out(SLOT, second, 2000));
        // It did not answer: that is the second time.
        gauges.eject(SLOT, second, 2500);
        assert!(!gauges.is_tried_out(SLOT));
        assert!(gauges.look(SLOT, 4499).ejected);
        assert!(gauges.try_out(SLOT, second, 4500));
        gauges.observe(SLOT, Duration::from_millis(1), 4501);
        assert!(!gauges.look(SLOT, 4501).ejected);
        gauges.eject(SLOT, second, 5000);
        assert!(!gauges.look(SLOT, 6000).ejected);
    }

    #[test]
    fn a_trial_that_was_not_made_is_the_next_request_s() {
        let gauges = WorkerGauges::new(Board::new(1), 0);
        let second = Duration::from_secs(1);
        gauges.eject(SLOT, second, 0);
        gauges.put_off(SLOT);
        assert!(gauges.look(SLOT, 999).ejected, "it was not tried out");
        assert!(gauges.try_out(SLOT, second, 1000));
        assert!(!gauges.try_out(SLOT, second, 1000));
        gauges.put_off(SLOT);
        assert!(!gauges.look(SLOT, 1000).ejected);
        assert!(gauges.try_out(SLOT, second, 1000));
    }

    #[test]
    fn one_slow_answer_raises_the_average_and_quick_ones_bring_it_back() {
        let gauges = WorkerGauges::new(Board::new(1), 0);
        let latency = |now| gauges.look(SLOT, now).latency.unwrap();
        gauges.observe(SLOT, Duration::from_millis(1), 0);
        gauges.observe(SLOT, Duration::from_millis(100), 1);
        assert!((latency(1) - 10_900.0).abs() < 1.0, "{}", latency(1));
        for now in 2..500 {
            gauges.observe(SLOT, Duration::from_millis(1), now);
        }
        assert!(latency(500) < 1_100.0, "{}", latency(500));
    }

    #[test]
    fn a_silent_endpoint_is_taken_for_half_as_slow_after_a_while() {
        let gauges = WorkerGauges::new(Board::new(1), 0);
        gauges.observe(SLOT, Duration::from_millis(10), 0);
        let latency = |now| gauges.look(SLOT, now).latency;
        assert_eq!(latency(0), Some(10_000.0));
        assert_eq!(latency(2_000), Some(5_000.0));
    }
}
