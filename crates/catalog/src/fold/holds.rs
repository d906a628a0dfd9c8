//! Holds: the fold's hand for the guard.
//!
//! A hold begins when an instance was not heard of and too much would go, or when
//! something else than its source says that it is there. It ends when its source speaks of
//! it again, explicitly departs or is replaced; when it is found alive or dead; when its
//! time is over; or when an operator says so.
//!
//! Invariants: `Watch::held` are the shares that have holds; while one of them is of a source
//! that knows, a pass is due.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use portolan_model::{
    Change, Guard, Health, Instance, InstanceId, Origin, ServiceKey, SourceId, Timestamp,
};

use super::{
    Claims, Fold, GUARD_ACTOR, Step,
    share::{is_held, is_sure},
};
use crate::guard::{
    Absence, Cause, Damping, Evidence, Excess, Floor, GuardReport, Hold, HoldStatus, Keeping,
    Reading, Scope, Sign, Totals, Wards,
};

/// What the fold keeps about the guard besides what each share has.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) evidence: Option<Arc<dyn Evidence>>,
    pub(super) wards: Wards,
    pub(super) damping: Damping,
    pub(super) totals: Totals,
    pub(super) held: BTreeSet<(ServiceKey, SourceId)>,
    pub(super) next_pass: Option<Timestamp>,
    /// Made when somebody asks and forgotten when something changes.
    report: OnceLock<Arc<GuardReport>>,
}

impl Watch {
    /// When there is something to do next.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let calm = self.damping.next();
        self.next_pass.into_iter().chain(calm).min()
    }

    /// What was shown is not so any more.
    pub(super) fn touch(&mut self) {
        self.report.take();
    }
}

impl Fold {
    /// Lets the guard ask what requests met.
    pub fn set_evidence(&mut self, evidence: Arc<dyn Evidence>) {
        self.watch.evidence = Some(evidence);
    }

    /// Marks an instance as a suspect until its time is over.
    pub(super) fn hold(
        &mut self,
        step: &mut Step,
        instance: &Arc<Instance>,
        absence: Absence,
        cause: Cause,
    ) {
        let reading = self.reading(step.now, instance, None);
        self.watch.totals.held += 1;
        self.begin_hold(
            step,
            instance,
            Hold {
                absence,
                keeping: Keeping::Suspect,
                cause,
                since: step.now,
                until: None,
                reading,
            },
        );
    }

    /// Keeps an instance of which its source does not speak, because it is there.
    pub(super) fn vouch(&mut self, step: &mut Step, instance: &Arc<Instance>, reading: Reading) {
        self.watch.totals.vouched += 1;
        self.begin_hold(
            step,
            instance,
            Hold {
                absence: Absence::Silent,
                keeping: Keeping::Vouched,
                cause: Cause::plain(Scope::Evidence),
                since: step.now,
                until: None,
                reading,
            },
        );
    }

    fn begin_hold(&mut self, step: &mut Step, instance: &Arc<Instance>, mut hold: Hold) {
        let (source, key, id) = (&instance.source, &instance.key, &instance.id);
        let is_suspect = hold.keeping.is_suspect();
        if is_suspect == is_held(instance) {
            self.end_hold(source, key, id);
        } else {
            let mut marked = Instance::clone(instance);
            marked.state.guard = if is_suspect {
                Guard::Suspect
            } else {
                Guard::None
            };
            let marked = Arc::new(marked);
            self.set(step, source, Arc::clone(&marked));
            let (source, actor) = (source.clone(), Some(GUARD_ACTOR.into()));
            step.tell(Origin { source, actor }, Change::Put { instance: marked });
        }
        let term = step.now.after(self.guard.hold);
        let pass = step.now.after(self.guard.pass());
        let holder = self.holder(source);
        holder.held += usize::from(is_suspect);
        let is_stale = holder.stale.is_some();
        hold.until = (is_suspect && !is_stale).then_some(term);
        self.share(source, key).held.insert(id.clone(), hold);
        self.watch.held.insert((key.clone(), source.clone()));
        if !is_stale {
            self.watch.next_pass.get_or_insert(pass);
        }
        self.watch.touch();
    }

    pub(super) fn end_hold(&mut self, source: &SourceId, key: &ServiceKey, id: &InstanceId) {
        let share = self.share(source, key);
        let Some(hold) = share.held.remove(id) else {
            return;
        };
        let was_last = share.held.is_empty();
        self.holder(source).held -= usize::from(hold.keeping.is_suspect());
        if was_last {
            self.watch.held.remove(&(key.clone(), source.clone()));
        }
        if self.watch.held.is_empty() {
            self.watch.next_pass = None;
        }
        self.watch.touch();
    }

    /// Forgets the holds of a share that is dropped.
    pub(super) fn drop_holds(&mut self, source: &SourceId, key: &ServiceKey) {
        self.watch.held.remove(&(key.clone(), source.clone()));
        self.reschedule(None);
        self.watch.touch();
    }

    /// Sees to it that there is a pass if anybody is to be looked at, and none otherwise.
    pub(super) fn reschedule(&mut self, next: Option<Timestamp>) {
        let holders = &self.holders;
        let knows = |source| {
            let holder = holders.get(source);
            holder.is_some_and(|holder| holder.stale.is_none())
        };
        let is_due = self.watch.held.iter().any(|(_, source)| knows(source));
        let next = next.or(self.watch.next_pass);
        self.watch.next_pass = next.filter(|_| is_due);
    }

    /// Nobody can confirm the suspects of a source that does not know, so their time
    /// stands still. They get a new term when it knows again.
    pub(super) fn suspend_holds(&mut self, source: &SourceId, term: Option<Timestamp>) {
        for key in self.holder(source).keys.clone() {
            for hold in self.share(source, &key).held.values_mut() {
                hold.until = term.filter(|_| hold.keeping == Keeping::Suspect);
            }
        }
        self.reschedule(None);
        self.watch.touch();
    }

    /// Whether an instance may go by inference; if so, that is noted in its scopes.
    pub(super) fn judge_one(&mut self, now: Timestamp, instance: &Instance) -> Result<(), Cause> {
        if !is_sure(instance) || self.guard.is_off() {
            return Ok(());
        }
        let guard = self.guard;
        let Instance {
            source, key, zone, ..
        } = instance;
        let because = |scope| move |excess: Excess| Cause::new(scope, excess);
        let share = self.share(source, key);
        let asked = (share.sure, 1);
        let of_service = share.losses.weigh(&guard, now, asked, Floor::One);
        of_service.map_err(because(Scope::Service))?;
        if let Some(zone) = zone {
            let of_zone = self.watch.wards.weigh_zone(&guard, now, zone, 1);
            of_zone.map_err(because(Scope::Zone(Arc::clone(zone))))?;
        }
        let holder = self.holder(source);
        let asked = (holder.sure, 1);
        let of_source = holder.losses.weigh(&guard, now, asked, Floor::Zero);
        of_source.map_err(because(Scope::Source))?;
        let of_all = self.watch.wards.weigh_all(&guard, now, 1);
        of_all.map_err(because(Scope::All))?;
        self.share(source, key).losses.lost(now, 1);
        self.holder(source).losses.lost(now, 1);
        self.watch.wards.lost(now, 1);
        if let Some(zone) = zone {
            self.watch.wards.lost_in(&guard, zone, now, 1);
        }
        Ok(())
    }

    /// What is known about an instance beyond the words of its source.
    pub(super) fn reading(
        &self,
        now: Timestamp,
        instance: &Instance,
        told: Option<(Timestamp, Sign)>,
    ) -> Reading {
        let evidence = self.watch.evidence.as_ref();
        let traces = evidence.map(|evidence| evidence.traces(now, instance));
        let found = self.verdicts.health(instance).map(|health| match health {
            Health::Passing | Health::Warning => (now, Sign::Alive),
            Health::Starting | Health::Critical => (now, Sign::Dead),
        });
        Reading {
            traces: traces.unwrap_or_default(),
            told: found.or(told),
        }
    }

    /// Whether an instance that its source speaks of has the same address: then it may be
    /// that one which answers there.
    pub(super) fn is_replaced(&self, instance: &Instance) -> bool {
        let address = instance.address(None);
        let claims = self.claims.get(&instance.key);
        let spoken = claims.into_iter().flat_map(Claims::spoken);
        let mut others = spoken.filter(|other| other.id != instance.id);
        others.any(|other| other.address(None) == address)
    }

    /// What everybody may see of the guard.
    pub(super) fn guard_report(&self) -> Arc<GuardReport> {
        let report = self.watch.report.get_or_init(|| {
            Arc::new(GuardReport {
                settings: self.guard,
                holds: self.hold_statuses(),
                flaps: self.watch.damping.statuses(self.guard.half_life),
                totals: self.watch.totals,
            })
        });
        Arc::clone(report)
    }

    pub(super) fn hold_statuses(&self) -> Vec<HoldStatus> {
        let shares = self.watch.held.iter().filter_map(|(key, source)| {
            let share = self.claims.get(key)?.share(source)?;
            Some((key, source, share))
        });
        let holds = shares.flat_map(|(key, source, share)| {
            share.held.iter().map(move |(id, hold)| HoldStatus {
                key: key.clone(),
                id: id.clone(),
                zone: share
                    .instances
                    .get(id)
                    .and_then(|instance| instance.zone.clone()),
                source: source.clone(),
                keeping: hold.keeping,
                absence: hold.absence,
                cause: hold.cause.clone(),
                since: hold.since,
                until: hold.until,
                traces: hold.reading.traces,
            })
        });
        holds.collect()
    }
}
