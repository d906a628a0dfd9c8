//! What is counted. Each worker has counters that only it writes.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use portolan_forwarder::Forwarder;
use portolan_telemetry::DnsFacts;

use crate::wire::kind;

/// Types with counters of their own; the last is for all others.
const KINDS: [(u16, &str); 12] = [
    (kind::A, "A"),
    (kind::AAAA, "AAAA"),
    (kind::SRV, "SRV"),
    (kind::PTR, "PTR"),
    (kind::TXT, "TXT"),
    (kind::SOA, "SOA"),
    (kind::NS, "NS"),
    (kind::CNAME, "CNAME"),
    (kind::HTTPS, "HTTPS"),
    (kind::SVCB, "SVCB"),
    (kind::ANY, "ANY"),
    (0, "other"),
];
/// Codes with counters of their own, by number; the last is for all others.
const CODES: [&str; 7] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "other",
];
/// Upper bounds of latencies in microseconds, and as they are shown.
const BOUNDS: [(u64, &str); 9] = [
    (50, "0.00005"),
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (25_000, "0.025"),
    (1_000_000, "1"),
];

/// Why a query got no answer, or a cut one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// It was no query.
    Malformed = 0,
    /// Beyond the rate of its network.
    Limited = 1,
    /// Beyond the rate, and answered cut.
    Slipped = 2,
    /// Too much was under way.
    Overload = 3,
}

const DROPPED: [&str; 4] = ["malformed", "limited", "slipped", "overload"];

/// The counters of all workers.
#[derive(Debug, Default)]
pub struct Meters {
    /// Guards the list, never the numbers.
    workers: Mutex<Vec<Arc<Counters>>>,
    /// Guards the handle; held for no await.
    forwarder: Mutex<Option<Forwarder>>,
}

/// The counters of one worker.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    answers: [[AtomicU64; CODES.len()]; KINDS.len()],
    dropped: [AtomicU64; DROPPED.len()],
    truncated: AtomicU64,
    latency: [AtomicU64; BOUNDS.len() + 1],
    latency_sum: AtomicU64,
}

/// One more, by the only writer.
fn raise(counter: Option<&AtomicU64>, by: u64) {
    if let Some(counter) = counter {
        let now = counter.load(Ordering::Relaxed);
        counter.store(now.saturating_add(by), Ordering::Relaxed);
    }
}

impl Counters {
    pub(crate) fn answered(&self, kind: u16, code: u8, is_cut: bool) {
        let last = KINDS.len().saturating_sub(1);
        let row = KINDS.iter().position(|(known, _)| *known == kind);
        let row = self.answers.get(row.unwrap_or(last));
        let column = usize::from(code).min(CODES.len().saturating_sub(1));
        raise(row.and_then(|row| row.get(column)), 1);
        if is_cut {
            raise(Some(&self.truncated), 1);
        }
    }

    pub(crate) fn dropped(&self, why: Dropped) {
        raise(self.dropped.get(why as usize), 1);
    }

    /// So many answers took that long.
    pub(crate) fn took(&self, span: Duration, count: u64) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < micros);
        raise(self.latency.get(bucket), count);
        raise(Some(&self.latency_sum), micros.saturating_mul(count));
    }
}

impl Meters {
    /// Counters for one worker more.
    pub(crate) fn worker(&self) -> Arc<Counters> {
        let counters = Arc::<Counters>::default();
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.push(Arc::clone(&counters));
        counters
    }

    /// Whose figures are told beside.
    pub fn set_forwarder(&self, forwarder: Option<Forwarder>) {
        let mut place = self
            .forwarder
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *place = forwarder;
    }

    /// The sums, as they stand.
    #[must_use]
    pub fn facts(&self) -> DnsFacts {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |of: &dyn Fn(&Counters) -> u64| workers.iter().map(|one| of(one)).sum::<u64>();
        let read = |counter: Option<&AtomicU64>| counter.map_or(0, |c| c.load(Ordering::Relaxed));
        let mut facts = DnsFacts::default();
        for (row, (_, kind)) in KINDS.iter().enumerate() {
            for (column, code) in CODES.iter().enumerate() {
                let count =
                    sum(&|one| read(one.answers.get(row).and_then(|cells| cells.get(column))));
                if count > 0 {
                    facts.answers.push((kind, code, count));
                }
            }
        }
        for (place, why) in DROPPED.iter().enumerate() {
            let count = sum(&|one| read(one.dropped.get(place)));
            if count > 0 {
                facts.dropped.push((why, count));
            }
        }
        facts.truncated = sum(&|one| read(Some(&one.truncated)));
        for place in 0..=BOUNDS.len() {
            let bound = BOUNDS.get(place).map_or("+Inf", |(_, shown)| *shown);
            facts
                .latency
                .push((bound, sum(&|one| read(one.latency.get(place)))));
        }
        facts.latency_micros = sum(&|one| read(Some(&one.latency_sum)));
        let forwarder = self
            .forwarder
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(figures) = forwarder.as_ref().map(Forwarder::figures) {
            facts.forwarded = vec![
                ("remembered", figures.hits),
                ("asked", figures.misses),
                ("stale", figures.stale),
                ("failed", figures.failures),
                ("refused", figures.refused),
            ];
            facts.remembered = figures.entries;
            facts.recursors = figures.recursors;
        }
        facts
    }
}
