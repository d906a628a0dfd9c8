//! The engine: leases of instances, pure.
//!
//! [`Engine::step`] takes the time and an input and hands out what follows: changes for
//! the catalogue, orders for the prober and the answer for whoever asked. It does no
//! I/O and reads no clock, so a simulation drives years of it in a second.
//!
//! Deadlines are counted on the monotonic clock: a wall clock that jumps expires nobody.
//! Each lease stands once in a sorted set of deadlines. A sign of life only moves the
//! lease's own deadline, which is a store; the set is put right when the old deadline
//! comes, so a heartbeat costs one hash lookup and a lease costs O(log n) once per TTL.
//!
//! Invariants: an instance leaves no earlier than its TTL after its last sign of life;
//! after a tick nobody is there whose deadline has passed; a deregistered instance comes
//! back only by registering.

mod handed;
mod lease;
mod leases;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, time::Duration};

use portolan_catalog::Bequest;
use portolan_dialects::native::Described;
use portolan_model::{
    Change, Departure, Instance, InstanceId, ServiceKey, Timestamp, Verdict, route::Check,
};

pub use self::{
    handed::{Handed, HandedLease},
    lease::Report,
};
use self::{lease::Lease, leases::Leases};

/// How long an instance that is known by its check alone stays after its last good probe.
const CHECKED_TTL: Duration = Duration::from_hours(1);
/// A drain that nobody ends is ended by the engine this long after its deadline.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// A point in time on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since the registry began, on the monotonic clock.
    pub uptime: Duration,
    /// The time on the wall.
    pub at: Timestamp,
}

/// What a registry allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How long an instance that does not say may be silent.
    pub ttl_default: Duration,
    /// The shortest that it may ask for.
    pub ttl_min: Duration,
    /// The longest that it may ask for.
    pub ttl_max: Duration,
    /// Instances in all.
    pub instances_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            ttl_default: Duration::from_secs(30),
            ttl_min: Duration::from_secs(1),
            ttl_max: Duration::from_hours(24),
            instances_max: 1_000_000,
        }
    }
}

/// Which instance of which service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// The service.
    pub key: ServiceKey,
    /// The instance.
    pub id: InstanceId,
}

impl Subject {
    /// Which one an instance is.
    #[must_use]
    pub fn of(instance: &Instance) -> Self {
        Self {
            key: instance.key.clone(),
            id: instance.id.clone(),
        }
    }
}

/// One drain of one instance; a later drain is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainId(u64);

/// What somebody wants from the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// An instance describes itself, for the first time or again.
    Register(Box<Described>),
    /// An instance gives a sign of life and may report its health.
    Renew(Subject, Option<Report>),
    /// An instance leaves now.
    Deregister(Subject),
    /// An instance gets no new requests and leaves when [`Input::Drained`] comes, or
    /// at the latest after this span.
    Leave(Subject, Duration),
    /// The drain is over.
    Drained(Subject, DrainId),
    /// What the checks of an instance at that address found; `None` if there are none.
    Judge(Subject, SocketAddr, Option<Verdict>),
    /// Time has passed.
    Tick,
    /// Other limits hold from now on, for what comes.
    Rebound(Bounds),
    /// Everything is asked for, to be handed to a successor: from now on nothing is taken
    /// in that the successor would not know of.
    Export,
    /// The hand-over came to nothing.
    Resume,
    /// A predecessor's export is taken over.
    Adopt(Box<Handed>),
}

/// What the prober should do from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckOrder {
    /// Check this instance, in place of an earlier order for it.
    Set(Subject, SocketAddr, Check),
    /// Do not check it on its own behalf any more.
    Clear(Subject),
}

/// What the engine answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The instance was not known before.
    Created(Duration),
    /// The instance is known; this is its TTL.
    Kept(Duration),
    /// The instance is being drained.
    Leaving(DrainId),
    /// The instance is gone.
    Removed,
    /// The drain that was to end is not the instance's any more.
    Returned,
    /// No such instance.
    Unknown,
    /// The registration is not taken.
    Refused(Refusal),
    /// Every lease; nothing of what the catalogue alone knows.
    Exported(Box<Handed>),
    /// There is nothing to say.
    Done,
}

/// Why a registration is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The registry is full.
    #[error("the registry holds its limit of {limit} instances")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// A successor has everything already.
    #[error("the registry is being handed to a successor; ask again")]
    HandedOver,
    /// The TTL is out of bounds.
    #[error("a ttl is from {min:?} to {max:?}")]
    Ttl {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
}

/// What follows from an input.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Words for the catalogue, in order.
    pub changes: Vec<Change>,
    /// What the catalogue is to know after them, beyond words.
    pub bequest: Option<Bequest>,
    /// Orders for the prober, in order.
    pub orders: Vec<CheckOrder>,
    /// The answer.
    pub answer: Answer,
}

/// All leases.
#[derive(Debug)]
pub struct Engine {
    bounds: Bounds,
    leases: Leases,
    drains: u64,
    is_handed_over: bool,
}

impl Engine {
    /// An engine without leases.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            leases: Leases::default(),
            drains: 0,
            is_handed_over: false,
        }
    }

    /// When [`Input::Tick`] has something to do next, in uptime.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.leases.next_deadline().map(Duration::from_millis)
    }

    /// How many instances there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in one input.
    pub fn step(&mut self, now: Moment, input: Input) -> Step {
        let mut step = Step {
            changes: Vec::new(),
            bequest: None,
            orders: Vec::new(),
            answer: Answer::Done,
        };
        step.answer = match input {
            Input::Register(_) | Input::Renew(..) | Input::Deregister(_) | Input::Leave(..)
                if self.is_handed_over =>
            {
                Answer::Refused(Refusal::HandedOver)
            }
            Input::Register(described) => self.register(now, *described, &mut step),
            Input::Renew(subject, report) => self.renew(now, &subject, report, &mut step),
            Input::Deregister(subject) => self.remove(&subject, Departure::Explicit, &mut step),
            Input::Leave(subject, within) => self.leave(now, &subject, within, &mut step),
            Input::Drained(subject, drain) => self.drained(&subject, drain, &mut step),
            Input::Judge(subject, address, verdict) => {
                self.judge(now, &subject, (address, verdict), &mut step)
            }
            Input::Tick => self.tick(now, &mut step),
            Input::Rebound(bounds) => {
                self.bounds = bounds;
                Answer::Done
            }
            Input::Export => {
                self.is_handed_over = true;
                self.export(now)
            }
            Input::Resume => {
                self.is_handed_over = false;
                Answer::Done
            }
            Input::Adopt(handed) => self.adopt(now, *handed, &mut step),
        };
        step
    }

    fn register(&mut self, now: Moment, described: Described, step: &mut Step) -> Answer {
        let bounds = self.bounds;
        let ttl = match (described.ttl, &described.check) {
            (Some(ttl), _) if (bounds.ttl_min..=bounds.ttl_max).contains(&ttl) => ttl,
            (Some(_), _) => {
                return Answer::Refused(Refusal::Ttl {
                    min: bounds.ttl_min,
                    max: bounds.ttl_max,
                });
            }
            (None, Some(_)) => CHECKED_TTL.clamp(bounds.ttl_min, bounds.ttl_max),
            (None, None) => bounds.ttl_default,
        };
        let subject = Subject::of(&described.instance);
        let known = self.leases.remove(&subject);
        if known.is_none() && self.len() >= bounds.instances_max {
            let limit = bounds.instances_max;
            return Answer::Refused(Refusal::Full { limit });
        }
        let is_new = known.is_none();
        let mut lease = Lease::new(now, described, ttl, known);
        step.orders.extend(lease.order(&subject));
        step.changes.extend(lease.tell(now));
        self.leases.insert(subject, lease);
        if is_new {
            Answer::Created(ttl)
        } else {
            Answer::Kept(ttl)
        }
    }

    fn renew(
        &mut self,
        now: Moment,
        subject: &Subject,
        report: Option<Report>,
        step: &mut Step,
    ) -> Answer {
        let Some(lease) = self.leases.find(subject) else {
            return Answer::Unknown;
        };
        lease.renew(now);
        if let Some(report) = report {
            lease.report(report);
            step.changes.extend(lease.tell(now));
        }
        Answer::Kept(lease.ttl())
    }

    fn leave(
        &mut self,
        now: Moment,
        subject: &Subject,
        within: Duration,
        step: &mut Step,
    ) -> Answer {
        let Some(lease) = self.leases.find(subject) else {
            return Answer::Unknown;
        };
        self.drains += 1;
        let drain = DrainId(self.drains);
        lease.leave(now, drain, within.saturating_add(DRAIN_GRACE));
        step.changes.extend(lease.tell(now));
        self.leases.hasten(subject);
        Answer::Leaving(drain)
    }

    fn drained(&mut self, subject: &Subject, drain: DrainId, step: &mut Step) -> Answer {
        match self.leases.find(subject).map(|lease| lease.drain()) {
            None => Answer::Removed,
            Some(current) if current == Some(drain) => {
                self.remove(subject, Departure::Explicit, step)
            }
            Some(_) => Answer::Returned,
        }
    }

    fn judge(
        &mut self,
        now: Moment,
        subject: &Subject,
        (address, verdict): (SocketAddr, Option<Verdict>),
        step: &mut Step,
    ) -> Answer {
        let Some(lease) = self.leases.find(subject) else {
            return Answer::Unknown;
        };
        // What was found at an address that the instance has left says nothing about it.
        if lease.address() == Some(address) {
            lease.judge(now, verdict);
            step.changes.extend(lease.tell(now));
        }
        Answer::Done
    }

    fn remove(&mut self, subject: &Subject, departure: Departure, step: &mut Step) -> Answer {
        let Some(lease) = self.leases.remove(subject) else {
            return Answer::Unknown;
        };
        if lease.has_check() {
            step.orders.push(CheckOrder::Clear(subject.clone()));
        }
        step.changes.push(Change::Remove {
            key: subject.key.clone(),
            id: subject.id.clone(),
            departure,
        });
        Answer::Removed
    }

    fn tick(&mut self, now: Moment, step: &mut Step) -> Answer {
        while let Some((subject, is_leaving)) = self.leases.pop_due(now) {
            // Whoever asked to leave said so; whoever fell silent may only be slow.
            let departure = if is_leaving {
                Departure::Explicit
            } else {
                Departure::Inferred
            };
            let _removed = self.remove(&subject, departure, step);
        }
        Answer::Done
    }
}
