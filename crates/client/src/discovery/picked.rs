//! An instance that was picked, and how the call to it went.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use portolan_balance::Endpoint;
use portolan_model::Instance;

use super::Service;

/// How long an instance gets no calls after it could not be reached; as much longer as that
/// was in a row, up to ten times. Then one call in as long finds out whether it is back.
pub(super) const EJECTION: Duration = Duration::from_secs(1);
/// Failures in a row after which an instance gets no calls for a while.
const FAILURES_MAX: u32 = 5;
/// How long an instance may be silent before a call that is given up counts as failed. Whoever
/// puts a time limit around the whole call gives it up by dropping it.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// A call that is given up sooner than this says nothing.
const SILENCE_MIN: Duration = Duration::from_millis(10);

/// An instance to call. It counts as called until this is dropped. One that is dropped without
/// a report was given up: after 10 ms the instance is known to take at least as long as that, and
/// after 1 s to have failed.
#[derive(Debug)]
#[must_use = "an instance that is not called need not be picked"]
pub struct Picked {
    service: Service,
    endpoint: Endpoint,
    began: Instant,
    /// One of the marks below.
    mark: AtomicU8,
    /// Whether the call is to find out if the instance is back.
    is_trial: bool,
    /// Where the call notes that this try reached nobody.
    reached_nobody: Option<Arc<AtomicBool>>,
}

/// Nothing was reported.
const SILENT: u8 = 0;
/// The answer began well.
const ANSWERED: u8 = 1;
/// Everything is said.
const SETTLED: u8 = 2;

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// There was no connection: nothing was sent. The instance gets no calls for a while, if
    /// there are others.
    Unreachable,
    /// The call broke off, took too long, or the answer was that of a broken instance. After
    /// five in a row the instance gets no calls for a while, if there are others.
    Failed,
}

impl Picked {
    pub(super) fn new(service: &Service, endpoint: Endpoint, is_trial: bool) -> Self {
        Self {
            began: service.shared.env.instant(),
            service: service.clone(),
            endpoint,
            mark: AtomicU8::new(SILENT),
            is_trial,
            reached_nobody: None,
        }
    }

    /// As one of the tries of a call, which wants to know when it reaches nobody.
    pub(super) fn note_in(&mut self, reached_nobody: &Arc<AtomicBool>) {
        self.reached_nobody = Some(Arc::clone(reached_nobody));
    }

    /// Where to connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// The instance.
    #[must_use]
    pub const fn instance(&self) -> &Arc<Instance> {
        &self.endpoint.instance
    }

    /// How long ago it was picked.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let now = self.service.shared.env.instant();
        now.saturating_duration_since(self.began)
    }

    /// It answered, and took so long to the first byte of the answer.
    pub fn succeeded(&self, latency: Duration) {
        self.mark.store(SETTLED, Relaxed);
        self.observe(latency);
        self.forgive();
    }

    /// The answer began, and well. Whether it ends well is seen when this is dropped: it does
    /// unless a failure is reported.
    #[cfg(any(feature = "tower", feature = "reqwest", test))]
    pub(crate) fn answered(&self) {
        self.mark.store(ANSWERED, Relaxed);
        self.observe(self.elapsed());
    }

    /// It was not called, or can't be blamed.
    pub(crate) fn withdraw(&self) {
        self.mark.store(SETTLED, Relaxed);
        if self.is_trial {
            let gauges = &self.service.shared.gauges;
            gauges.write(|gauges| gauges.put_off(self.endpoint.slot));
        }
    }

    fn observe(&self, latency: Duration) {
        let (shared, slot) = (&self.service.shared, self.endpoint.slot);
        let now = shared.millis();
        shared.gauges.write(|gauges| {
            gauges.observe(slot, latency, now);
        });
    }

    fn forgive(&self) {
        let mut books = self.service.entry.books();
        books.failures.remove(&self.endpoint.slot);
    }

    /// It was given up without an answer.
    fn was_given_up(&self) {
        let silence = self.elapsed();
        if silence < SILENCE_MIN {
            return;
        }
        self.observe_at_least(silence);
        if silence >= SILENCE_MAX {
            self.failed(Failure::Failed);
        }
    }

    /// It did not answer in the time that a try had.
    #[cfg(any(feature = "tower", feature = "reqwest"))]
    pub(crate) fn kept_silent(&self) {
        self.observe_at_least(self.elapsed());
        self.failed(Failure::Failed);
    }

    /// It did not answer before the time of the whole call was over, which was so much. It can be
    /// blamed if it had most of that.
    #[cfg(feature = "tower")]
    pub(crate) fn ran_out(&self, time: Duration) {
        let silence = self.elapsed();
        if silence >= SILENCE_MIN && silence >= time / 2 {
            self.kept_silent();
        }
    }

    fn observe_at_least(&self, silence: Duration) {
        let (shared, slot) = (&self.service.shared, self.endpoint.slot);
        let now = shared.millis();
        shared.gauges.write(|gauges| {
            gauges.observe_at_least(slot, silence, now);
        });
    }

    /// It did not do what was asked of it.
    pub fn failed(&self, failure: Failure) {
        let is_news = self.mark.swap(SETTLED, Relaxed) != SETTLED;
        let (shared, slot) = (&self.service.shared, self.endpoint.slot);
        let now = shared.millis();
        let is_one_too_many = match failure {
            Failure::Unreachable => true,
            Failure::Failed => self.is_one_too_many(),
        };
        if is_news
            && failure == Failure::Unreachable
            && let Some(note) = &self.reached_nobody
        {
            note.store(true, Relaxed);
        }
        shared.gauges.write(|gauges| {
            // Calls that go down together are one reason, and the one that found out is another.
            let is_tried_out = gauges.is_tried_out(slot);
            let is_open = gauges.board().ejected_until(slot) <= now;
            if is_tried_out || (is_one_too_many && is_open) {
                gauges.eject(slot, EJECTION, now);
            }
        });
    }

    /// Counts a failure. Says whether there were too many in a row.
    fn is_one_too_many(&self) -> bool {
        let mut books = self.service.entry.books();
        let failures = &mut books.failures;
        let count = failures.entry(self.endpoint.slot).or_default();
        *count += 1;
        if *count < FAILURES_MAX {
            return false;
        }
        failures.remove(&self.endpoint.slot);
        true
    }

    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        match *self.mark.get_mut() {
            SILENT => self.was_given_up(),
            ANSWERED => self.forgive(),
            _ => {}
        }
        let gauges = &self.service.shared.gauges;
        gauges.write(|gauges| gauges.count_ended(self.endpoint.slot));
    }
}
