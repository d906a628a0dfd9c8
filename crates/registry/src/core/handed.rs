//! Leases on their way to another process: a hitless upgrade loses no registration.
//!
//! Deadlines travel as the time that is left, because no two processes share a
//! monotonic clock.

use std::{sync::Arc, time::Duration};

use portolan_model::{Change, Instance, ServiceKey, Verdict, route::Check};
use serde::{Deserialize, Serialize};

use super::{Answer, DrainId, Engine, Moment, Step, Subject, lease::Lease};

/// One lease, as another process takes it over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// The instance, as the catalogue knows it.
    pub(super) instance: Instance,
    /// What it said of itself.
    pub(super) report: Option<Verdict>,
    /// What its checks found.
    pub(super) verdict: Option<Verdict>,
    /// The check that it brought.
    pub(super) check: Option<Check>,
    /// How long it may be silent.
    pub(super) ttl: Duration,
    /// A good check is a sign of life.
    pub(super) lives_by_check: bool,
    /// Until the lease ends.
    pub(super) remaining: Duration,
    /// It is being drained, and leaves when the time is up.
    pub(super) is_leaving: bool,
}

impl Engine {
    /// Every lease, for a successor.
    pub(super) fn export(&self, now: Moment) -> Answer {
        Answer::Exported(self.leases.iter().map(|lease| lease.hand(now)).collect())
    }

    /// Takes over what a predecessor exported, in place of everything.
    pub(super) fn adopt(&mut self, now: Moment, handed: Vec<Handed>, step: &mut Step) -> Answer {
        let mut instances = Vec::new();
        let mut services: Vec<ServiceKey> = Vec::new();
        for handed in handed {
            let subject = Subject {
                key: handed.instance.key.clone(),
                id: handed.instance.id.clone(),
            };
            let drain = handed.is_leaving.then(|| {
                self.drains += 1;
                DrainId(self.drains)
            });
            let (lease, instance) = Lease::adopt(now, handed, drain);
            step.orders.extend(lease.order(&subject));
            services.push(subject.key.clone());
            instances.push(instance);
            // A predecessor has each subject once; the last word counts all the same.
            let _doubled = self.leases.remove(&subject);
            self.leases.insert(subject, lease);
        }
        services.sort();
        services.dedup();
        if !instances.is_empty() {
            step.changes.push(Change::Reset {
                services,
                instances,
            });
        }
        Answer::Done
    }
}

impl Lease {
    fn hand(&self, now: Moment) -> Handed {
        let deadline = Duration::from_millis(self.deadline());
        Handed {
            instance: self.shown().clone(),
            report: self.report.clone(),
            verdict: self.verdict.clone(),
            check: self.check.clone(),
            ttl: self.ttl(),
            lives_by_check: self.lives_by_check,
            remaining: deadline.saturating_sub(now.uptime),
            is_leaving: self.drain().is_some(),
        }
    }

    fn adopt(now: Moment, handed: Handed, drain: Option<DrainId>) -> (Self, Arc<Instance>) {
        let instance = Arc::new(handed.instance);
        let lease = Self {
            told: Some(Arc::clone(&instance)),
            instance: Instance {
                state: portolan_model::State::default(),
                ..Instance::clone(&instance)
            },
            report: handed.report,
            verdict: handed.verdict,
            is_check_new: handed.check.is_some(),
            is_check_gone: false,
            check: handed.check,
            ttl: handed.ttl,
            lives_by_check: handed.lives_by_check,
            deadline: super::lease::millis_after(now, handed.remaining),
            drain,
        };
        (lease, instance)
    }
}
