//! Leases on their way to another process: neither a hitless upgrade nor a restart loses
//! a registration.
//!
//! Deadlines travel as the time that is left, because no two processes share a
//! monotonic clock; what was stored has no deadline and gets a whole TTL again.

use std::{sync::Arc, time::Duration};

use portolan_catalog::Bequest;
use portolan_model::{Change, Instance, ServiceKey, Verdict, route::Check};
use serde::{Deserialize, Serialize};

use super::{
    Answer, DrainId, Engine, Fact, Moment, Report, RulingRecord, Step, Subject,
    lease::{Extras, Lease, Parts, Span, Told},
};

/// Everything that another process takes over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// The leases.
    pub(crate) leases: Vec<LeaseRecord>,
    /// Instances whose lease has ended and that the catalogue's guard holds.
    #[serde(default)]
    pub(crate) suspects: Vec<Arc<Instance>>,
    /// Services without instances.
    #[serde(default)]
    pub(crate) services: Vec<ServiceKey>,
    /// What operators ruled.
    #[serde(default)]
    pub(crate) rulings: Vec<RulingRecord>,
}

impl Handed {
    /// Takes in a record of a store, if there is one.
    pub(crate) fn take(&mut self, fact: Option<Fact>) {
        match fact {
            Some(Fact::Lease(record)) => self.leases.push(*record),
            Some(Fact::Ruling(record)) => self.rulings.push(record),
            Some(Fact::NoLease(..) | Fact::NoRuling(_)) | None => {}
        }
    }
}

impl LeaseRecord {
    /// Whose it is.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject::of(&self.instance)
    }
}

/// One lease, as another process takes it over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The instance, as the catalogue knows it.
    pub(super) instance: Instance,
    /// What it said of itself.
    #[serde(default)]
    pub(super) report: Report,
    /// What its checks found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<Verdict>,
    /// The check that it brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) check: Option<Check>,
    /// How long it may be silent.
    pub(super) ttl: Duration,
    /// A good check is a sign of life.
    pub(super) lives_by_check: bool,
    /// Until the lease ends; what was stored does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) remaining: Option<Duration>,
    /// It is being drained, and leaves when the time is up.
    #[serde(default)]
    pub(super) is_leaving: bool,
}

impl Engine {
    /// Every lease, for a successor.
    pub(super) fn export(&self, now: Moment) -> Answer {
        Answer::Exported(Box::new(Handed {
            leases: self.leases.iter().map(|lease| lease.hand(now)).collect(),
            rulings: self.rulings.records(),
            ..Handed::default()
        }))
    }

    /// Everything that must outlive the process.
    #[must_use]
    pub fn facts(&self) -> Vec<Fact> {
        let leases = self.leases.iter().map(Lease::fact);
        let rulings = self.rulings.records().into_iter().map(Fact::Ruling);
        leases.chain(rulings).collect()
    }

    /// Takes over what a predecessor exported, in place of everything.
    pub(super) fn adopt(&mut self, now: Moment, handed: Handed, step: &mut Step) -> Answer {
        let Handed {
            leases,
            suspects,
            services,
            rulings,
        } = handed;
        self.adopt_rulings(rulings, step);
        let mut instances = Vec::new();
        for mut handed in leases {
            self.share_texts(&mut handed.instance);
            let subject = Subject::of(&handed.instance);
            let drain = handed.is_leaving.then(|| {
                self.drains += 1;
                DrainId(self.drains)
            });
            let (mut lease, instance) = Lease::adopt(now, handed, drain);
            // Whether this process's store holds it is not known here.
            lease.written = step.number;
            step.orders.extend(lease.resumption(&subject));
            self.last = Some(Arc::clone(&instance));
            instances.push(instance);
            // A predecessor has each subject once; the last word counts all the same.
            let _doubled = self.leases.remove(&subject);
            self.leases.insert(subject, lease);
        }
        let held = suspects
            .iter()
            .map(|suspect| (suspect.key.clone(), suspect.id.clone()));
        step.bequest = Some(Bequest {
            suspects: held.collect(),
            services,
        });
        instances.extend(suspects);
        if !instances.is_empty() {
            // A service that is not named here is forgotten some time after its last
            // instance, as any other of the registry.
            let services = Vec::new();
            step.changes.push(Change::Reset {
                services,
                instances,
            });
        }
        Answer::Done
    }
}

impl Lease {
    fn hand(&self, now: Moment) -> LeaseRecord {
        let deadline = Duration::from_millis(self.deadline());
        LeaseRecord {
            remaining: Some(deadline.saturating_sub(now.uptime)),
            ..self.record()
        }
    }

    /// What a store keeps of it.
    pub(super) fn fact(&self) -> Fact {
        Fact::Lease(Box::new(self.record()))
    }

    fn record(&self) -> LeaseRecord {
        LeaseRecord {
            instance: self.shown().clone(),
            report: self.reported(),
            verdict: self.extras.verdict.clone(),
            check: self.extras.check.clone(),
            ttl: self.ttl(),
            lives_by_check: self.lives_by_check,
            remaining: None,
            is_leaving: self.drain().is_some(),
        }
    }

    fn adopt(now: Moment, handed: LeaseRecord, drain: Option<DrainId>) -> (Self, Arc<Instance>) {
        let instance = Arc::new(handed.instance);
        let remaining = handed.remaining.unwrap_or(if handed.is_leaving {
            // Nobody waits for the end of a drain that a crash cut off.
            Duration::ZERO
        } else {
            handed.ttl
        });
        let lease = Self {
            shown: Arc::clone(&instance),
            told: Told::AsShown,
            health: handed.report.health,
            is_check_new: handed.check.is_some(),
            is_check_gone: false,
            ttl: Span::new(handed.ttl),
            lives_by_check: handed.lives_by_check,
            deadline: super::lease::millis_after(now, remaining),
            extras: Extras::new(Parts {
                note: handed.report.note,
                check: handed.check,
                verdict: handed.verdict,
                drain,
            }),
            written: 0,
        };
        (lease, instance)
    }
}
