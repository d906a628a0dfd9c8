//! The engine, for the desk that steps it and for the handles that hear signs of life.
//!
//! Nearly all that a registry is told is that somebody is still there. That changes a deadline
//! and nothing else, so whoever is told does it on the spot; all else is lined up at the desk.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use portolan_runtime::Env;

use crate::{
    Kept, Registry,
    core::{Bounds, Engine, Moment, Report, Subject},
};

/// Steps are counted up to 2^48, which takes nine years at a million a second.
const STEP_BITS: u32 = 48;

/// A step, and the store that has to hold what followed from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled(u64);

/// The engine and its clock.
pub(crate) struct Shared {
    env: Env,
    began: Instant,
    /// The lock guards the engine; it is held for a step and for no await.
    engine: Mutex<Engine>,
    /// What was known before the process began has been taken over.
    is_introduced: AtomicBool,
    /// All that followed from the steps up to this one is visible and would survive a crash. Above
    /// [`STEP_BITS`], how many stores there were before: what one of them held counts for less.
    settled: AtomicU64,
}

impl Shared {
    pub(crate) fn new(env: Env, bounds: Bounds) -> Self {
        Self {
            began: env.instant(),
            env,
            engine: Mutex::new(Engine::new(bounds)),
            is_introduced: AtomicBool::new(false),
            settled: AtomicU64::new(0),
        }
    }

    pub(crate) fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine, unless it makes a step just now: some take as long as there are leases, and
    /// whoever hears a sign of life must not stop the thread for that.
    fn free_engine(&self) -> Option<MutexGuard<'_, Engine>> {
        match self.engine.try_lock() {
            Ok(engine) => Some(engine),
            Err(TryLockError::Poisoned(engine)) => Some(engine.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment {
            uptime: self.env.instant().saturating_duration_since(self.began),
            at: self.env.now(),
        }
    }

    /// When an uptime is.
    pub(crate) fn instant(&self, uptime: Duration) -> Instant {
        self.began + uptime
    }

    /// From now on signs of life are heard.
    pub(crate) fn introduce(&self) {
        self.is_introduced.store(true, Ordering::Release);
    }

    /// Hears a sign of life, and gives back the TTL; `None` if it is for the desk.
    fn hear(&self, subject: &Subject, report: Option<&Report>) -> Option<Duration> {
        if !self.is_introduced.load(Ordering::Acquire) {
            return None;
        }
        let (now, settled) = (self.now(), self.settled());
        self.free_engine()?.hear(now, subject, report, settled)
    }

    /// Hears signs of life, and gives back those that are for the desk.
    fn hear_all(&self, mut subjects: Vec<Subject>) -> Vec<Subject> {
        if self.is_introduced.load(Ordering::Acquire)
            && let Some(mut engine) = self.free_engine()
        {
            let (now, settled) = (self.now(), self.settled());
            subjects.retain(|subject| engine.hear(now, subject, None, settled).is_none());
        }
        subjects
    }

    fn settled(&self) -> u64 {
        self.settled.load(Ordering::Acquire) % (1 << STEP_BITS)
    }

    /// The step that was made last, for [`Self::settle`] once the store of now holds it.
    pub(crate) fn last_step(&self) -> Settled {
        let store = self.settled.load(Ordering::Acquire) >> STEP_BITS;
        Settled(store << STEP_BITS | self.engine().steps())
    }

    /// All that followed from the steps up to this one is visible and would survive a crash.
    pub(crate) fn settle(&self, Settled(step): Settled) {
        self.settled.fetch_max(step, Ordering::AcqRel);
    }

    /// Another store has to show first that it holds anything. For the desk alone.
    pub(crate) fn unsettle(&self) {
        let store = self.settled.load(Ordering::Acquire) >> STEP_BITS;
        self.settled
            .store((store + 1) << STEP_BITS, Ordering::Release);
    }

    /// Whether what was said of an instance is visible and would survive a crash; nobody is
    /// waited for, so `None` if the engine makes a step just now.
    pub(crate) fn try_is_settled(&self, subject: &Subject) -> Option<bool> {
        let engine = self.free_engine()?;
        Some(self.covers(&engine, subject))
    }

    /// The same for the desk, which makes the steps.
    pub(crate) fn is_settled(&self, subject: &Subject) -> bool {
        self.covers(&self.engine(), subject)
    }

    fn covers(&self, engine: &Engine, subject: &Subject) -> bool {
        let written = engine.written(subject);
        written.is_some_and(|written| written <= self.settled())
    }
}

impl Registry {
    /// A sign of life from which nobody learns anything but that the instance is there, taken in
    /// on the spot. `None` if there is more to it: then it is for [`Self::renew`].
    #[must_use]
    pub fn hear(&self, subject: &Subject, report: Option<&Report>) -> Option<Kept> {
        if self.commands.is_closed() {
            return None;
        }
        Some(Kept {
            ttl: self.shared.hear(subject, report)?,
            revision: self.reader.revision(),
            is_new: false,
        })
    }

    /// The same for many instances; gives back those with more to it.
    pub(crate) fn hear_all(&self, subjects: Vec<Subject>) -> Vec<Subject> {
        if self.commands.is_closed() {
            return subjects;
        }
        self.shared.hear_all(subjects)
    }
}
