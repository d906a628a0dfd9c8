//! What the prober found about instances of sources that can't be told themselves.
//!
//! The registry hears about its own instances; for everybody else's the verdict lies
//! beside the claims and is put over the merged instance: the worse of the source's
//! word and the verdict counts. A verdict about an address that the instance has left
//! says nothing.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use portolan_model::{
    Change, Health, Instance, InstanceId, Origin, ServiceKey, State, Timestamp, Verdict,
};

use super::{Fold, Step};

/// The actor of events that a check caused.
const CHECK_ACTOR: &str = "check";

/// What the prober says about one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The instance's service.
    pub key: ServiceKey,
    /// The instance.
    pub id: InstanceId,
    /// Its first address, which was probed or whose port was.
    pub address: SocketAddr,
    /// What was found; `None` if it is no longer checked.
    pub verdict: Option<Verdict>,
}

/// Verdicts by instance.
///
/// Invariant: no service is kept without a verdict.
#[derive(Debug, Default)]
pub(super) struct Verdicts(HashMap<ServiceKey, HashMap<InstanceId, Found>>);

#[derive(Debug)]
struct Found {
    address: SocketAddr,
    verdict: Verdict,
    since: Timestamp,
    /// The instance that it was put over last, and what became of it: equal instances
    /// stay the same allocation, which is how a rebuild tells what changed.
    shown: Option<(Arc<Instance>, Arc<Instance>)>,
}

impl Verdicts {
    /// Takes in a judgement. Says whether it is news.
    fn judge(&mut self, now: Timestamp, judgement: Judgement) -> bool {
        let Judgement {
            key,
            id,
            address,
            verdict,
        } = judgement;
        let Some(verdict) = verdict else {
            let Some(of_service) = self.0.get_mut(&key) else {
                return false;
            };
            let was_there = of_service.remove(&id).is_some();
            if of_service.is_empty() {
                self.0.remove(&key);
            }
            return was_there;
        };
        let of_service = self.0.entry(key).or_default();
        let before = of_service.get(&id).filter(|found| found.address == address);
        if before.is_some_and(|found| found.verdict == verdict) {
            return false;
        }
        let since = match before {
            Some(found) if found.verdict.health == verdict.health => found.since,
            Some(_) | None => now,
        };
        let found = Found {
            address,
            verdict,
            since,
            shown: None,
        };
        of_service.insert(id, found);
        true
    }

    /// What was found at an instance's address, if it is checked.
    pub(super) fn health(&self, instance: &Instance) -> Option<Health> {
        let found = self.0.get(&instance.key)?.get(&instance.id)?;
        let is_there = instance.address(None) == Some(found.address);
        is_there.then_some(found.verdict.health)
    }

    /// Puts the verdicts over a service's instances.
    pub(super) fn cover(&mut self, key: &ServiceKey, instances: &mut [Arc<Instance>]) {
        let Some(of_service) = self.0.get_mut(key) else {
            return;
        };
        for instance in instances {
            if let Some(found) = of_service.get_mut(&instance.id) {
                found.cover(instance);
            }
        }
    }
}

impl Found {
    fn cover(&mut self, instance: &mut Arc<Instance>) {
        let is_worse = self.verdict.health.severity() > instance.state.health.severity();
        if !is_worse || instance.address(None) != Some(self.address) {
            return;
        }
        if let Some((under, over)) = &self.shown
            && Arc::ptr_eq(under, instance)
        {
            *instance = Arc::clone(over);
            return;
        }
        let over = Arc::new(Instance {
            state: State {
                health: self.verdict.health,
                since: self.since,
                note: self.verdict.note.clone(),
                ..instance.state.clone()
            },
            ..Instance::clone(instance)
        });
        let under = std::mem::replace(instance, Arc::clone(&over));
        self.shown = Some((under, over));
    }
}

impl Fold {
    /// Takes in what the prober found.
    pub(super) fn take_verdict(&mut self, step: &mut Step, judgement: Judgement) {
        let (key, id) = (judgement.key.clone(), judgement.id.clone());
        if !self.verdicts.judge(step.now, judgement) {
            return;
        }
        if let Some(instance) = self.seen(&key, &id) {
            let origin = Origin {
                source: instance.source.clone(),
                actor: Some(CHECK_ACTOR.into()),
            };
            step.dirty.insert(key);
            step.tell(origin, Change::Put { instance });
        }
    }
}
