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
mod rulings;
#[cfg(test)]
mod tests;
mod words;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_dialects::native::{Described, Patch};
use portolan_model::{Change, Departure, Instance, Timestamp, Verdict};

pub use self::{
    handed::{Handed, LeaseRecord},
    lease::Report,
    rulings::{RULINGS_MAX, RulingRecord},
    words::{
        Answer, Bounds, CheckOrder, DrainId, Fact, Input, Moment, Recheck, Refusal, Step, Subject,
    },
};
use self::{lease::Lease, leases::Leases, rulings::Rulings};

/// How long an instance that is known by its check alone stays after its last good probe.
const CHECKED_TTL: Duration = Duration::from_hours(1);
/// A drain that nobody ends is ended by the engine this long after its deadline.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// All leases.
#[derive(Debug)]
pub struct Engine {
    bounds: Bounds,
    leases: Leases,
    rulings: Rulings,
    drains: u64,
    /// Steps that were made.
    steps: u64,
    is_handed_over: bool,
    /// Who registered last: the next one is often of the same service.
    last: Option<Arc<Instance>>,
}

impl Engine {
    /// An engine without leases.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            leases: Leases::default(),
            rulings: Rulings::default(),
            drains: 0,
            steps: 0,
            is_handed_over: false,
            last: None,
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

    /// Whether an instance has a lease.
    #[must_use]
    pub fn has(&self, subject: &Subject) -> bool {
        self.leases.has(subject)
    }

    /// When an instance last gave a sign of life, or was good by its checks when it counted;
    /// `None` if it has no lease, or is leaving.
    #[must_use]
    pub fn last_heard(&self, now: Moment, subject: &Subject) -> Option<Timestamp> {
        self.leases.get(subject)?.last_heard(now)
    }

    /// Takes in a sign of life that nobody learns anything from but the lease itself, and gives
    /// back its TTL; `None` if there is more to it, which [`Self::step`] then does. A report that
    /// is known may be answered only if what was written of it is settled, as all up to a step is.
    pub fn hear(
        &mut self,
        now: Moment,
        subject: &Subject,
        report: Option<&Report>,
        settled: u64,
    ) -> Option<Duration> {
        if self.is_handed_over {
            return None;
        }
        let lease = self.leases.find(subject)?;
        if report.is_some_and(|report| !lease.is_known(report) || lease.written > settled) {
            return None;
        }
        lease.renew(now);
        Some(lease.ttl())
    }

    /// How many steps were made.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The last step that left a fact of an instance; `None` if it has no lease.
    #[must_use]
    pub fn written(&self, subject: &Subject) -> Option<u64> {
        self.leases.get(subject).map(|lease| lease.written)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in one input.
    pub fn step(&mut self, now: Moment, input: Input) -> Step {
        self.steps += 1;
        let mut step = Step {
            number: self.steps,
            ..Step::default()
        };
        step.answer = match input {
            Input::Register(_)
            | Input::Renew(..)
            | Input::RenewAll(_)
            | Input::Patch(..)
            | Input::Recheck(..)
            | Input::Rule(..)
            | Input::Deregister(_)
            | Input::Leave(..)
                if self.is_handed_over =>
            {
                Answer::Refused(Refusal::HandedOver)
            }
            Input::Register(described) => self.register(now, *described, &mut step),
            Input::Renew(subject, report) => self.renew(now, &subject, report, &mut step),
            Input::RenewAll(subjects) => self.renew_all(now, subjects),
            Input::Patch(subject, patch) => self.patch(now, &subject, &patch, &mut step),
            Input::Recheck(subject, recheck) => self.recheck(now, &subject, *recheck, &mut step),
            Input::Rule(subject, ruling) => self.rule(subject, ruling, &mut step),
            Input::Rulings => Answer::Rulings(self.rulings.records()),
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

    fn register(&mut self, now: Moment, mut described: Described, step: &mut Step) -> Answer {
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
        self.share_texts(&mut described.instance);
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
        keep(&mut lease, step);
        self.last = Some(Arc::clone(&lease.shown));
        self.leases.insert(subject, lease);
        if is_new {
            Answer::Created(ttl)
        } else {
            Answer::Kept(ttl)
        }
    }

    /// Memory holds what instances of a service have in common once. Services have nothing in
    /// common, so that whoever counts references to one touches no counter of the others.
    fn share_texts(&self, instance: &mut Instance) {
        if let Some(last) = self.last.as_ref().filter(|last| last.key == instance.key) {
            instance.share_texts(last);
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
            tell(now, lease, step);
        }
        Answer::Kept(lease.ttl())
    }

    fn renew_all(&mut self, now: Moment, mut subjects: Vec<Subject>) -> Answer {
        subjects.retain(|subject| match self.leases.find(subject) {
            Some(lease) => {
                lease.renew(now);
                false
            }
            None => true,
        });
        Answer::Missing(subjects)
    }

    fn patch(&mut self, now: Moment, subject: &Subject, patch: &Patch, step: &mut Step) -> Answer {
        let Some(lease) = self.leases.find(subject) else {
            return Answer::Unknown;
        };
        if let Err(misfit) = lease.patch(patch) {
            return Answer::Refused(Refusal::Misfit(misfit));
        }
        tell(now, lease, step);
        Answer::Kept(lease.ttl())
    }

    fn recheck(
        &mut self,
        now: Moment,
        subject: &Subject,
        recheck: Recheck,
        step: &mut Step,
    ) -> Answer {
        let Some(lease) = self.leases.find(subject) else {
            return Answer::Unknown;
        };
        lease.recheck(recheck);
        step.orders.extend(lease.order(subject));
        step.changes.extend(lease.tell(now));
        keep(lease, step);
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
        tell(now, lease, step);
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
        if lease.address() == address {
            lease.judge(now, verdict);
            tell(now, lease, step);
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
        step.facts.push(Fact::NoLease(subject.clone(), departure));
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

/// Tells what readers see differently, and keeps it: what nobody sees, as a heartbeat,
/// costs no write.
fn tell(now: Moment, lease: &mut Lease, step: &mut Step) {
    if let Some(change) = lease.tell(now) {
        step.changes.push(change);
        keep(lease, step);
    }
}

fn keep(lease: &mut Lease, step: &mut Step) {
    lease.written = step.number;
    step.facts.push(lease.fact());
}
