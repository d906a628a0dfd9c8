//! How sources are getting on, beside what the catalogue knows of them.
//!
//! Counters that an inbox moves and anybody reads. They are no part of the catalogue,
//! because a word that changes nothing makes no new one.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use portolan_model::{Change, SourceId, Timestamp};
use serde::Serialize;

/// Samples that a rate is made of; at one each five seconds, the last minute.
const SAMPLES_MAX: usize = 13;
/// How often [`Pulses::sample`] should be called.
pub const SAMPLING: Duration = Duration::from_secs(5);

/// How one source is getting on.
#[derive(Debug, Default)]
pub struct Pulse {
    changes: AtomicU64,
    resyncs: AtomicU64,
    failures: AtomicU64,
    /// Milliseconds since the epoch; 0 is never.
    confirmed_at: AtomicU64,
    words: Mutex<Words>,
}

#[derive(Debug, Default)]
struct Words {
    last_failure: Option<Failure>,
    unfit: u64,
    unfit_example: Option<Arc<str>>,
    samples: VecDeque<(Timestamp, u64)>,
}

/// Something that went wrong, though it may be well again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// What, in words for people.
    pub reason: Arc<str>,
}

/// What a [`Pulse`] says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PulseReport {
    /// Changes that it said since the program started.
    pub changes: u64,
    /// Changes a second over the last minute.
    pub changes_per_second: f64,
    /// How often it said everything anew.
    pub resyncs: u64,
    /// How often it lost what it reads.
    pub failures: u64,
    /// When what it reads last confirmed what it says: by an answer, or by a stream that
    /// is alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Timestamp>,
    /// What last went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,
    /// What it reads but can't use, at its last look.
    pub unfit: u64,
    /// One of these and why, in words for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfit_example: Option<Arc<str>>,
}

/// The pulses of all sources; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Pulses(Arc<Mutex<BTreeMap<SourceId, Arc<Pulse>>>>);

impl Pulse {
    pub(super) fn count(&self, change: &Change) {
        match change {
            Change::Stale { .. } => return,
            Change::Reset { .. } => {
                self.resyncs.fetch_add(1, Relaxed);
            }
            Change::Put { .. } | Change::Remove { .. } => {}
        }
        self.changes.fetch_add(1, Relaxed);
    }

    /// What is read confirmed what was said.
    pub fn confirm(&self, now: Timestamp) {
        self.confirmed_at.fetch_max(now.as_millis(), Relaxed);
    }

    /// What is read was lost, and why.
    pub fn fail(&self, now: Timestamp, reason: &str) {
        self.failures.fetch_add(1, Relaxed);
        self.words().last_failure = Some(Failure {
            at: now,
            reason: reason.into(),
        });
    }

    /// So much of what is read can't be used, for instance this.
    pub fn pass_over(&self, count: u64, example: Option<&str>) {
        let mut words = self.words();
        words.unfit = count;
        words.unfit_example = example.map(Into::into);
    }

    fn report(&self) -> PulseReport {
        let words = self.words();
        let changes = self.changes.load(Relaxed);
        PulseReport {
            changes,
            changes_per_second: words.rate(),
            resyncs: self.resyncs.load(Relaxed),
            failures: self.failures.load(Relaxed),
            confirmed_at: self.confirmed(),
            last_failure: words.last_failure.clone(),
            unfit: words.unfit,
            unfit_example: words.unfit_example.clone(),
        }
    }

    fn confirmed(&self) -> Option<Timestamp> {
        let at = Timestamp::from_millis(self.confirmed_at.load(Relaxed));
        (at != Timestamp::default()).then_some(at)
    }

    fn sample(&self, now: Timestamp) {
        let changes = self.changes.load(Relaxed);
        let mut words = self.words();
        words.samples.push_back((now, changes));
        if words.samples.len() > SAMPLES_MAX {
            words.samples.pop_front();
        }
    }

    fn words(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Words {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn rate(&self) -> f64 {
        let (Some((since, before)), Some((until, after))) =
            (self.samples.front(), self.samples.back())
        else {
            return 0.0;
        };
        let seconds = until.since(*since).as_secs_f64();
        if seconds > 0.0 {
            after.saturating_sub(*before) as f64 / seconds
        } else {
            0.0
        }
    }
}

impl Pulses {
    /// How a source is getting on; `None` if it has no inbox.
    #[must_use]
    pub fn report(&self, source: &SourceId) -> Option<PulseReport> {
        self.lock().get(source).map(|pulse| pulse.report())
    }

    /// When what a source reads last confirmed what it says, by an answer or a stream that is
    /// alive.
    #[must_use]
    pub fn confirmed_at(&self, source: &SourceId) -> Option<Timestamp> {
        let pulses = self.lock();
        pulses.get(source).and_then(|pulse| pulse.confirmed())
    }

    /// How each source that has an inbox is getting on.
    #[must_use]
    pub fn all(&self) -> Vec<(SourceId, PulseReport)> {
        let pulses = self.lock();
        let reports = pulses
            .iter()
            .map(|(id, pulse)| (id.clone(), pulse.report()));
        reports.collect()
    }

    /// Remembers where the counters are, so that rates can be told. To be called every
    /// [`SAMPLING`].
    pub fn sample(&self, now: Timestamp) {
        for pulse in self.lock().values() {
            pulse.sample(now);
        }
    }

    /// The pulse of a source that may have been at work before: a reload keeps its counters.
    pub(super) fn of(&self, source: &SourceId) -> Arc<Pulse> {
        Arc::clone(self.lock().entry(source.clone()).or_default())
    }

    pub(super) fn forget(&self, source: &SourceId) {
        self.lock().remove(source);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SourceId, Arc<Pulse>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
