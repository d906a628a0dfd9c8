//! `Reset`: here is everything. What it no longer names is gone by inference.
//!
//! The guard looks at how much shorter the list got, not at how many names changed:
//! three new instances for three old ones is a deployment, none for three an outage.
//! The journal gets the differences as `Put` and `Remove` where these can say it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use portolan_model::{Change, Departure, Instance, InstanceId, Origin, ServiceKey, SourceId};

use super::{
    Fold, Step,
    share::{Share, is_held, is_sure, owned_by},
};

/// Most `Put` and `Remove` that stand for a `Reset` in the journal.
const SMALL_WORDS_MAX: usize = 256;

type Told = BTreeMap<ServiceKey, BTreeMap<InstanceId, Arc<Instance>>>;

/// What a `Reset` means for one service.
#[derive(Debug)]
struct Gap {
    key: ServiceKey,
    /// Ids that it does not name any more and that no hold keeps already.
    missing: Vec<InstanceId>,
    /// Sure instances that are missing.
    missing_sure: usize,
    /// Sure instances that are new.
    new_sure: usize,
    /// Sure instances that it names.
    sure_after: usize,
    /// The guard keeps those of the missing that are sure.
    held: bool,
}

/// A `Reset` on its way in.
#[derive(Debug)]
struct Whole {
    source: SourceId,
    /// The services that it names itself.
    declared: BTreeSet<ServiceKey>,
    /// The instances that it names; of one that is named twice the last word counts.
    told: Told,
    /// The same in smaller words.
    changes: Vec<Change>,
    /// Smaller words can't say it all.
    reshaped: bool,
}

impl Fold {
    pub(super) fn reset(
        &mut self,
        step: &mut Step,
        origin: &Origin,
        services: Vec<ServiceKey>,
        instances: Vec<Arc<Instance>>,
    ) {
        let mut whole = Whole::new(&origin.source, &services, &instances);
        whole.reshaped = self.unstale(step, &whole.source);
        let known = self.holder(&whole.source).keys.iter().cloned();
        let keys: BTreeSet<_> = known.chain(whole.told.keys().cloned()).collect();
        let gaps = keys.into_iter().map(|key| self.gap(&whole, key));
        let mut gaps: Vec<_> = gaps.collect();
        if std::mem::take(&mut self.holder(&whole.source).replaced) {
            whole.reshaped = true;
            self.end_holds(step, &whole);
        } else {
            self.judge(step, &whole.source, &mut gaps);
        }
        let unsaid = step.is_empty() && !whole.reshaped;
        self.take_told(step, &mut whole);
        for gap in gaps {
            self.take_gap(step, &mut whole, gap);
        }
        if unsaid && step.is_empty() {
            return;
        }
        let Whole {
            reshaped,
            mut changes,
            ..
        } = whole;
        if reshaped || changes.len() > SMALL_WORDS_MAX {
            changes = vec![Change::Reset {
                services,
                instances,
            }];
        }
        // What the guard did about it follows it.
        let events = changes.into_iter().map(|change| (origin.clone(), change));
        step.events.splice(0..0, events);
    }

    fn gap(&self, whole: &Whole, key: ServiceKey) -> Gap {
        let nothing = (Share::default(), BTreeMap::new());
        let claims = self.claims.get(&key);
        let share = claims.and_then(|claims| claims.share(&whole.source));
        let share = share.unwrap_or(&nothing.0);
        let told = whole.told.get(&key).unwrap_or(&nothing.1);
        let gone =
            |instance: &&Arc<Instance>| !told.contains_key(&instance.id) && !is_held(instance);
        let gone: Vec<_> = share.instances.values().filter(gone).collect();
        let sure_told = told.values().filter(|instance| is_sure(instance));
        let is_new = |instance: &&Arc<Instance>| !share.instances.contains_key(&instance.id);
        Gap {
            missing: gone.iter().map(|instance| instance.id.clone()).collect(),
            missing_sure: gone.iter().filter(|instance| is_sure(instance)).count(),
            new_sure: sure_told.clone().filter(is_new).count(),
            sure_after: sure_told.count(),
            held: false,
            key,
        }
    }

    /// The guard's word on every gap, and on all of them together.
    fn judge(&mut self, step: &Step, source: &SourceId, gaps: &mut [Gap]) {
        let (guard, now) = (self.guard, step.now);
        for gap in gaps.iter_mut().filter(|gap| gap.loss() > 0) {
            let losses = &mut self.share(source, &gap.key).losses;
            gap.held = !losses.admit(&guard, now, gap.sure_after + gap.loss(), gap.loss());
        }
        let going = gaps.iter().filter(|gap| !gap.held);
        let going: usize = going.map(|gap| gap.missing_sure).sum();
        let coming: usize = gaps.iter().map(|gap| gap.new_sure).sum();
        let after: usize = gaps.iter().map(|gap| gap.sure_after).sum();
        let loss = going.saturating_sub(coming);
        let losses = &mut self.holder(source).losses;
        if losses.admit(&guard, now, after + loss, loss) {
            losses.lost(now, loss);
            (going..coming).for_each(|_| losses.gained());
        } else {
            for gap in gaps.iter_mut() {
                gap.held |= gap.loss() > 0;
            }
        }
        for gap in gaps.iter().filter(|gap| gap.loss() > 0 || gap.new_sure > 0) {
            let losses = &mut self.share(source, &gap.key).losses;
            if !gap.held {
                losses.lost(now, gap.loss());
            }
            (gap.missing_sure..gap.new_sure).for_each(|_| losses.gained());
        }
    }

    /// The configuration changed: suspects that are not named go as well.
    fn end_holds(&mut self, step: &mut Step, whole: &Whole) {
        for key in self.holder(&whole.source).keys.clone() {
            let named = whole.told.get(&key);
            let held = self.share(&whole.source, &key).held.keys().cloned();
            let is_named = |id: &InstanceId| named.is_some_and(|named| named.contains_key(id));
            let gone: Vec<_> = held.filter(|id| !is_named(id)).collect();
            for id in gone {
                self.remove(step, &whole.source, &key, &id);
            }
        }
    }

    fn take_told(&mut self, step: &mut Step, whole: &mut Whole) {
        let source = &whole.source;
        for (key, instances) in &whole.told {
            if !self.holder(source).keys.contains(key) {
                whole.reshaped |= instances.is_empty();
                step.dirty.insert(key.clone());
            }
            self.share(source, key).emptied_at = None;
            for (id, instance) in instances {
                if self.find(source, key, id) != Some(instance) {
                    self.set(step, source, Arc::clone(instance));
                    let instance = Arc::clone(instance);
                    whole.changes.push(Change::Put { instance });
                }
            }
        }
    }

    fn take_gap(&mut self, step: &mut Step, whole: &mut Whole, gap: Gap) {
        let Gap {
            key, missing, held, ..
        } = gap;
        let source = &whole.source;
        self.share(source, &key).declared = whole.declared.contains(&key);
        for id in missing {
            let sure = self
                .find(source, &key, &id)
                .is_some_and(|instance| is_sure(instance));
            if held && sure {
                self.hold(step, source, &key, &id);
            } else {
                self.remove(step, source, &key, &id);
                let (key, departure) = (key.clone(), Departure::Inferred);
                whole.changes.push(Change::Remove { key, id, departure });
            }
        }
        let share = self.share(source, &key);
        if share.instances.is_empty() && !share.declared {
            self.drop_share(step, source, &key);
            whole.reshaped = true;
        }
    }
}

impl Whole {
    fn new(source: &SourceId, services: &[ServiceKey], instances: &[Arc<Instance>]) -> Self {
        let declared = services.iter().cloned();
        let mut told: Told = services
            .iter()
            .map(|key| (key.clone(), BTreeMap::new()))
            .collect();
        for instance in instances {
            let instance = owned_by(source, Arc::clone(instance));
            let service = told.entry(instance.key.clone()).or_default();
            service.insert(instance.id.clone(), instance);
        }
        Self {
            source: source.clone(),
            declared: declared.collect(),
            told,
            changes: Vec::new(),
            reshaped: false,
        }
    }
}

impl Gap {
    /// By how many sure instances the list got shorter.
    const fn loss(&self) -> usize {
        self.missing_sure.saturating_sub(self.new_sure)
    }
}
