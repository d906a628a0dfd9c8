//! What operators ruled about instances of any source.
//!
//! A ruling lies beside the claims, as a verdict does, and is put over the merged
//! instance last: nothing that a source or a check says can undo it. It stays while the
//! instance is away.

use std::{collections::HashMap, sync::Arc};

use portolan_model::{Change, Instance, InstanceId, Origin, Override, Ruling, ServiceKey, State};

use super::{Fold, Step};

/// The actor of events that an operator caused who has no name.
const OPERATOR_ACTOR: &str = "operator";

/// An operator's word about one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruled {
    /// The instance's service.
    pub key: ServiceKey,
    /// The instance, which need not be there.
    pub id: InstanceId,
    /// What is said; `None` takes back what was.
    pub ruling: Option<Arc<Ruling>>,
}

/// Rulings by instance.
///
/// Invariant: no service is kept without a ruling.
#[derive(Debug, Default)]
pub(super) struct Rulings(HashMap<ServiceKey, HashMap<InstanceId, Rule>>);

#[derive(Debug)]
struct Rule {
    ruling: Arc<Ruling>,
    /// The instance that it was put over last, and what became of it: equal instances
    /// stay the same allocation, which is how a rebuild tells what changed.
    shown: Option<(Arc<Instance>, Arc<Instance>)>,
}

impl Rulings {
    /// Takes in a ruling. Says whether it is news.
    fn rule(&mut self, ruled: &Ruled) -> bool {
        let Some(ruling) = &ruled.ruling else {
            let Some(of_service) = self.0.get_mut(&ruled.key) else {
                return false;
            };
            let was_there = of_service.remove(&ruled.id).is_some();
            if of_service.is_empty() {
                self.0.remove(&ruled.key);
            }
            return was_there;
        };
        let of_service = self.0.entry(ruled.key.clone()).or_default();
        let before = of_service.get(&ruled.id);
        if before.is_some_and(|rule| rule.ruling == *ruling) {
            return false;
        }
        let rule = Rule {
            ruling: Arc::clone(ruling),
            shown: None,
        };
        of_service.insert(ruled.id.clone(), rule);
        true
    }

    /// Puts the rulings over a service's instances.
    pub(super) fn cover(&mut self, key: &ServiceKey, instances: &mut [Arc<Instance>]) {
        let Some(of_service) = self.0.get_mut(key) else {
            return;
        };
        for instance in instances {
            if let Some(rule) = of_service.get_mut(&instance.id) {
                rule.cover(instance);
            }
        }
    }
}

impl Rule {
    fn cover(&mut self, instance: &mut Arc<Instance>) {
        if let Some((under, over)) = &self.shown
            && Arc::ptr_eq(under, instance)
        {
            *instance = Arc::clone(over);
            return;
        }
        let over = Arc::new(Instance {
            weight: self.ruling.weight.unwrap_or(instance.weight),
            state: State {
                overridden: match self.ruling.traffic {
                    // A ruling about the weight alone leaves the traffic to the source.
                    Override::None => instance.state.overridden,
                    traffic @ (Override::Drain | Override::Maintenance) => traffic,
                },
                ruling: Some(Arc::clone(&self.ruling)),
                ..instance.state.clone()
            },
            ..Instance::clone(instance)
        });
        let under = std::mem::replace(instance, Arc::clone(&over));
        self.shown = Some((under, over));
    }
}

/// A source has no say in what our operators ruled, and can't bring it back: only what
/// carries no ruling is its own word, said over there.
pub(super) fn clear(state: &mut State) {
    if state.ruling.take().is_some() {
        state.overridden = Override::None;
    }
}

/// Whether a source spoke of what is the operators'.
pub(super) const fn is_claimed(state: &State) -> bool {
    state.ruling.is_some()
}

impl Fold {
    /// Takes in what an operator ruled.
    pub(super) fn take_ruling(&mut self, step: &mut Step, actor: Option<Arc<str>>, ruled: &Ruled) {
        if !self.rulings.rule(ruled) {
            return;
        }
        let Some(instance) = self.seen(&ruled.key, &ruled.id) else {
            return;
        };
        let origin = Origin {
            source: instance.source.clone(),
            actor: actor.or_else(|| Some(OPERATOR_ACTOR.into())),
        };
        step.dirty.insert(ruled.key.clone());
        step.tell(origin, Change::Put { instance });
    }

    /// An instance as readers see it from now on.
    pub(super) fn seen(&mut self, key: &ServiceKey, id: &InstanceId) -> Option<Arc<Instance>> {
        let (mut instances, _) = self.claims.get(key).and_then(super::Claims::merge)?;
        self.cover(key, &mut instances);
        instances.into_iter().find(|instance| instance.id == *id)
    }
}
