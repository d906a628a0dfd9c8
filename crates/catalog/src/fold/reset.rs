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
    share::{Share, is_sure, owned_by, seen_first},
};
use crate::guard::{Absence, Cause, Floor, Scope};

/// Most `Put` and `Remove` that stand for a `Reset` in the journal.
const SMALL_WORDS_MAX: usize = 256;

type Told = BTreeMap<ServiceKey, BTreeMap<InstanceId, Arc<Instance>>>;

/// What a `Reset` means for one service.
#[derive(Debug)]
struct Gap {
    key: ServiceKey,
    /// Ids that it does not name any more and that no hold keeps already.
    missing: Vec<InstanceId>,
    /// Zones of the sure instances that are missing.
    missing_sure: Vec<Zone>,
    /// Zones of the sure instances that are new.
    new_sure: Vec<Zone>,
    /// Sure instances that it names.
    sure_after: usize,
    /// Why the guard keeps those of the missing that are sure, if it does.
    held: Option<Cause>,
}

type Zone = Option<Arc<str>>;

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
        let holder = self.holder(&origin.source);
        (holder.is_whole, holder.is_remembered) = (true, false);
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
        let gone = |instance: &&Arc<Instance>| {
            !told.contains_key(&instance.id) && !share.held.contains_key(&instance.id)
        };
        let gone: Vec<_> = share.instances.iter().filter(gone).collect();
        let sure_told = told.values().filter(|instance| is_sure(instance));
        let is_new = |instance: &&Arc<Instance>| !share.instances.has(&instance.id);
        let missing_sure = gone.iter().filter(|instance| is_sure(instance));
        Gap {
            missing: gone.iter().map(|instance| instance.id.clone()).collect(),
            missing_sure: missing_sure.map(|instance| instance.zone.clone()).collect(),
            new_sure: sure_told
                .clone()
                .filter(is_new)
                .map(|instance| instance.zone.clone())
                .collect(),
            sure_after: sure_told.count(),
            held: None,
            key,
        }
    }

    /// The guard's word on every gap, and on all of them together.
    fn judge(&mut self, step: &Step, source: &SourceId, gaps: &mut [Gap]) {
        let (guard, now) = (self.guard, step.now);
        for gap in gaps.iter_mut().filter(|gap| gap.loss() > 0) {
            let losses = &mut self.share(source, &gap.key).losses;
            let asked = (gap.sure_after + gap.loss(), gap.loss());
            let excess = losses.weigh(&guard, now, asked, Floor::One).err();
            gap.held = excess.map(|excess| Cause::new(Scope::Service, excess));
        }
        self.judge_zones(step, gaps);
        let loss = net_loss(gaps);
        let after: usize = gaps.iter().map(|gap| gap.sure_after).sum();
        let losses = &mut self.holder(source).losses;
        let excess = losses.weigh(&guard, now, (after + loss, loss), Floor::Zero);
        let in_source = excess.map_err(|excess| Cause::new(Scope::Source, excess));
        let excess = self.watch.wards.weigh_all(&guard, now, loss);
        let in_all = excess.map_err(|excess| Cause::new(Scope::All, excess));
        if let Err(cause) = in_source.and(in_all) {
            for gap in gaps.iter_mut().filter(|gap| gap.is_going()) {
                gap.held = Some(cause.clone());
            }
        }
        if !guard.is_off() {
            self.note_losses(step, source, gaps);
        }
    }

    /// Holds the gaps of zones that would lose too much.
    fn judge_zones(&mut self, step: &Step, gaps: &mut [Gap]) {
        let (guard, now) = (self.guard, step.now);
        for (zone, balance) in balances(gaps) {
            let loss = balance.loss();
            let excess = self.watch.wards.weigh_zone(&guard, now, &zone, loss);
            let Err(excess) = excess else { continue };
            let cause = Cause::new(Scope::Zone(Arc::clone(&zone)), excess);
            let touches = |gap: &Gap| gap.missing_sure.contains(&Some(Arc::clone(&zone)));
            for gap in gaps.iter_mut().filter(|gap| gap.is_going() && touches(gap)) {
                gap.held = Some(cause.clone());
            }
        }
    }

    /// Writes what goes and what comes into the books of every scope.
    fn note_losses(&mut self, step: &Step, source: &SourceId, gaps: &[Gap]) {
        let (guard, now) = (self.guard, step.now);
        let coming: usize = gaps.iter().map(|gap| gap.new_sure.len()).sum();
        let going = gaps.iter().filter(|gap| gap.held.is_none());
        let going: usize = going.map(|gap| gap.missing_sure.len()).sum();
        let loss = going.saturating_sub(coming);
        self.watch.totals.within_share += loss as u64;
        self.holder(source).losses.lost(now, loss);
        self.watch.wards.lost(now, loss);
        for _ in going..coming {
            self.holder(source).losses.gained();
            self.watch.wards.gained();
        }
        for (zone, balance) in balances(gaps) {
            if balance.loss() > 0 {
                let wards = &mut self.watch.wards;
                wards.lost_in(&guard, &zone, now, balance.loss());
            }
            (balance.missing..balance.new).for_each(|_| self.watch.wards.gained_in(&zone));
        }
        for gap in gaps {
            let (missing, new) = (gap.missing_sure.len(), gap.new_sure.len());
            if (missing, new) == (0, 0) {
                continue;
            }
            let losses = &mut self.share(source, &gap.key).losses;
            if gap.held.is_none() {
                losses.lost(now, gap.loss());
            }
            (missing..new).for_each(|_| losses.gained());
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
                let known = self.find(source, key, id);
                let instance = seen_first(known, Arc::clone(instance), step.now);
                if known == Some(&instance) {
                    // It may have been kept although the source did not speak of it.
                    self.end_hold(source, key, id);
                    continue;
                }
                self.set(step, source, Arc::clone(&instance));
                whole.changes.push(Change::Put { instance });
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
            let instance = self.find(source, &key, &id).cloned();
            let sure = instance.filter(|instance| is_sure(instance));
            if let (Some(cause), Some(instance)) = (&held, sure) {
                self.hold(step, &instance, Absence::Unlisted, cause.clone());
                continue;
            }
            self.remove(step, source, &key, &id);
            let (key, departure) = (key.clone(), Departure::Inferred);
            whole.changes.push(Change::Remove { key, id, departure });
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
        self.missing_sure.len().saturating_sub(self.new_sure.len())
    }

    /// Whether it got shorter and nothing is held so far.
    const fn is_going(&self) -> bool {
        self.loss() > 0 && self.held.is_none()
    }
}

/// What a zone loses and gets.
#[derive(Clone, Copy, Debug, Default)]
struct Balance {
    missing: usize,
    new: usize,
}

impl Balance {
    const fn loss(self) -> usize {
        self.missing.saturating_sub(self.new)
    }
}

/// What each zone loses by services that get smaller, and gets by any. A service that moves
/// to another zone is a deployment.
fn balances(gaps: &[Gap]) -> BTreeMap<Arc<str>, Balance> {
    let mut balances: BTreeMap<Arc<str>, Balance> = BTreeMap::new();
    for gap in gaps {
        for zone in gap.new_sure.iter().flatten() {
            balances.entry(Arc::clone(zone)).or_default().new += 1;
        }
        for zone in gap.missing_sure.iter().flatten().filter(|_| gap.is_going()) {
            balances.entry(Arc::clone(zone)).or_default().missing += 1;
        }
    }
    balances
}

/// By how many sure instances all lists together get shorter.
fn net_loss(gaps: &[Gap]) -> usize {
    let going = gaps.iter().filter(|gap| gap.held.is_none());
    let going: usize = going.map(|gap| gap.missing_sure.len()).sum();
    let coming: usize = gaps.iter().map(|gap| gap.new_sure.len()).sum();
    going.saturating_sub(coming)
}
