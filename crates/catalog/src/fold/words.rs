//! What each word of the contract does to the books, `Reset` aside.

use std::sync::Arc;

use portolan_model::{Change, Departure, Instance, InstanceId, Origin, ServiceKey, SourceId};

use super::{
    CONFIGURATION_ACTOR, Fold, Step,
    share::{is_sure, owned_by, seen_first},
};
use crate::{
    Staleness,
    guard::{Absence, Sign},
};

impl Fold {
    pub(super) fn put(&mut self, step: &mut Step, origin: Origin, instance: Arc<Instance>) {
        let instance = owned_by(&origin.source, instance);
        let is_remembered = self.holder(&origin.source).is_remembered;
        let unstaled = !is_remembered && self.unstale(step, &origin.source);
        let (source, key) = (&origin.source, instance.key.clone());
        let share = self.share(source, &key);
        let known = share.instances.get(&instance.id);
        let instance = seen_first(known, instance, step.now);
        if known == Some(&instance) && !unstaled {
            // It may have been kept although the source did not speak of it.
            self.end_hold(source, &key, &instance.id);
            return;
        }
        if known.is_none() {
            self.note_gain(&instance);
        }
        self.set(step, source, Arc::clone(&instance));
        step.tell(origin, Change::Put { instance });
    }

    pub(super) fn depart(
        &mut self,
        step: &mut Step,
        origin: Origin,
        key: ServiceKey,
        id: InstanceId,
    ) {
        if self.find(&origin.source, &key, &id).is_none() {
            return;
        }
        self.remove(step, &origin.source, &key, &id);
        let departure = Departure::Explicit;
        step.tell(origin, Change::Remove { key, id, departure });
    }

    /// An instance was not heard of.
    pub(super) fn miss(
        &mut self,
        step: &mut Step,
        origin: Origin,
        key: ServiceKey,
        id: InstanceId,
    ) {
        let Some(instance) = self.find(&origin.source, &key, &id).cloned() else {
            return;
        };
        let share = self.share(&origin.source, &key);
        if share.held.contains_key(&id) {
            return;
        }
        if is_sure(&instance) && !self.guard.is_off() {
            let reading = self.reading(step.now, &instance, None);
            let sign = reading.sign(step.now, self.guard.evidence);
            if sign == Some(Sign::Alive) && !self.is_replaced(&instance) {
                self.vouch(step, &instance, reading);
                return;
            }
        }
        if let Err(cause) = self.judge_one(step.now, &instance) {
            self.hold(step, &instance, Absence::Silent, cause);
            return;
        }
        if is_sure(&instance) {
            self.watch.totals.within_share += 1;
            let half_life = self.guard.half_life;
            self.watch.damping.fell(half_life, step.now, &key, &id);
            self.watch.touch();
        }
        self.remove(step, &origin.source, &key, &id);
        let departure = Departure::Inferred;
        step.tell(origin, Change::Remove { key, id, departure });
    }

    /// An instance came: it makes up for one that went.
    pub(super) fn note_gain(&mut self, instance: &Instance) {
        let share = self.share(&instance.source, &instance.key);
        share.losses.gained();
        self.holder(&instance.source).losses.gained();
        self.watch.wards.gained();
        if let Some(zone) = &instance.zone {
            self.watch.wards.gained_in(zone);
        }
    }

    pub(super) fn stale(&mut self, step: &mut Step, origin: Origin, reason: Arc<str>) {
        let now = step.now;
        let holder = self.holder(&origin.source);
        let since = match &holder.stale {
            Some(stale) if stale.reason == reason => return,
            Some(stale) => stale.since,
            None => now,
        };
        let first = holder.stale.is_none();
        holder.stale = Some(Staleness {
            reason: Arc::clone(&reason),
            since,
        });
        if first {
            self.suspend_holds(&origin.source, None);
            self.mark_all(step, &origin.source, |state| state.stale = true);
        }
        step.tell(origin, Change::Stale { reason });
    }

    /// The source knows again; its suspects get a new term. Says whether it was stale.
    pub(super) fn unstale(&mut self, step: &mut Step, source: &SourceId) -> bool {
        if self.holder(source).stale.take().is_none() {
            return false;
        }
        self.mark_all(step, source, |state| state.stale = false);
        let term = step.now.after(self.guard.hold);
        self.suspend_holds(source, Some(term));
        let pass = step.now.after(self.guard.pass());
        self.reschedule(Some(self.watch.next_pass.unwrap_or(pass)));
        true
    }

    pub(super) fn close(&mut self, step: &mut Step, origin: Origin) {
        let Some(holder) = self.holders.remove(&origin.source) else {
            return;
        };
        for key in holder.keys {
            if let Some(claims) = self.claims.get_mut(&key) {
                let share = claims.share(&origin.source);
                let instances = share.into_iter().flat_map(|share| share.instances.iter());
                for instance in instances.filter(|instance| is_sure(instance)) {
                    self.watch.wards.went(instance.zone.as_ref());
                }
                claims.drop_share(&origin.source);
            }
            self.drop_holds(&origin.source, &key);
            step.dirty.insert(key);
        }
        let actor = Some(CONFIGURATION_ACTOR.into());
        let (services, instances) = (Vec::new(), Vec::new());
        let reset = Change::Reset {
            services,
            instances,
        };
        step.tell(Origin { actor, ..origin }, reset);
    }
}
