//! What each word of the contract does to the books, `Reset` aside.

use std::sync::Arc;

use portolan_model::{Change, Departure, Instance, InstanceId, Origin, ServiceKey, SourceId};

use super::{
    CONFIGURATION_ACTOR, Fold, Step,
    share::{is_held, is_sure, owned_by},
};
use crate::Staleness;

impl Fold {
    pub(super) fn put(&mut self, step: &mut Step, origin: Origin, instance: Arc<Instance>) {
        let instance = owned_by(&origin.source, instance);
        let unstaled = self.unstale(step, &origin.source);
        let (source, key) = (&origin.source, &instance.key);
        let share = self.share(source, key);
        let known = share.instances.get(&instance.id);
        if known == Some(&instance) && !unstaled {
            return;
        }
        if known.is_none() {
            share.losses.gained();
            self.holder(source).losses.gained();
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
        let Some(instance) = self.find(&origin.source, &key, &id) else {
            return;
        };
        if is_held(instance) {
            return;
        }
        let loss = usize::from(is_sure(instance));
        let (guard, now) = (self.guard, step.now);
        let share = self.share(&origin.source, &key);
        let admitted = share.losses.admit(&guard, now, share.sure, loss);
        let holder = self.holder(&origin.source);
        if !admitted || !holder.losses.admit(&guard, now, holder.sure, loss) {
            self.hold(step, &origin.source, &key, &id);
            return;
        }
        holder.losses.lost(now, loss);
        self.share(&origin.source, &key).losses.lost(now, loss);
        self.remove(step, &origin.source, &key, &id);
        let departure = Departure::Inferred;
        step.tell(origin, Change::Remove { key, id, departure });
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
            // Nobody can confirm a suspect now, so its time stands still.
            self.holds.retain(|hold| hold.1 != origin.source);
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
        let until = step.now.after(self.guard.hold);
        let mut holds = Vec::new();
        for key in self.holder(source).keys.clone() {
            let share = self.share(source, &key);
            for (id, term) in &mut share.held {
                *term = until;
                let hold = (until, source.clone(), key.clone(), id.clone());
                holds.push(hold);
            }
        }
        self.holds.extend(holds);
        true
    }

    pub(super) fn close(&mut self, step: &mut Step, origin: Origin) {
        let Some(holder) = self.holders.remove(&origin.source) else {
            return;
        };
        self.holds.retain(|hold| hold.1 != origin.source);
        for key in holder.keys {
            if let Some(claims) = self.claims.get_mut(&key) {
                claims.drop_share(&origin.source);
            }
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
