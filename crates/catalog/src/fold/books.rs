//! The books: which source says what about which service, kept in step with counts,
//! holds and the list of empty services.
//!
//! Invariants: `Holder::keys` are the services that the source has a share in; counts
//! are those of the instances.

use std::sync::Arc;

use portolan_model::{Instance, InstanceId, ServiceKey, SourceId, State};

use super::{
    EMPTY_SERVICE_KEPT, EMPTY_SERVICES_MAX, Fold, Step,
    share::{Holder, Share, is_sure},
};
use crate::SourceStatus;

impl Fold {
    /// Writes an instance of a source, and ends its hold if it has one.
    pub(super) fn set(&mut self, step: &mut Step, source: &SourceId, instance: Arc<Instance>) {
        let key = instance.key.clone();
        self.end_hold(source, &key, &instance.id);
        let sure = is_sure(&instance);
        if sure {
            self.watch.wards.came(instance.zone.as_ref());
        }
        let share = self.share(source, &key);
        let before = share.instances.insert(instance);
        let sure_before = before.as_ref().filter(|before| is_sure(before));
        let was_sure = sure_before.is_some();
        share.sure = share.sure + usize::from(sure) - usize::from(was_sure);
        share.emptied_at = None;
        let holder = self.holder(source);
        holder.sure = holder.sure + usize::from(sure) - usize::from(was_sure);
        holder.instances += usize::from(before.is_none());
        if let Some(before) = sure_before {
            self.watch.wards.went(before.zone.as_ref());
        }
        step.dirty.insert(key);
    }

    /// Takes an instance of a source away. Its service stays, empty if need be.
    pub(super) fn remove(
        &mut self,
        step: &mut Step,
        source: &SourceId,
        key: &ServiceKey,
        id: &InstanceId,
    ) {
        self.end_hold(source, key, id);
        let share = self.share(source, key);
        let Some(instance) = share.instances.remove(id) else {
            return;
        };
        let sure = usize::from(is_sure(&instance));
        if is_sure(&instance) {
            self.watch.wards.went(instance.zone.as_ref());
        }
        let share = self.share(source, key);
        share.sure -= sure;
        let emptied = share.instances.is_empty() && !share.declared;
        let holder = self.holder(source);
        holder.sure -= sure;
        holder.instances -= 1;
        step.dirty.insert(key.clone());
        if emptied {
            self.note_empty(step, source, key);
        }
    }

    /// Remembers a service that has no instance, for a while.
    pub(super) fn note_empty(&mut self, step: &mut Step, source: &SourceId, key: &ServiceKey) {
        self.share(source, key).emptied_at = Some(step.now);
        let until = step.now.after(EMPTY_SERVICE_KEPT);
        self.empties.push_back((until, source.clone(), key.clone()));
        if self.empties.len() > EMPTY_SERVICES_MAX {
            self.forget_empty(step);
        }
    }

    /// Changes the state of every instance of a source.
    pub(super) fn mark_all(&mut self, step: &mut Step, source: &SourceId, mark: fn(&mut State)) {
        for key in self.holder(source).keys.clone() {
            for instance in self.share(source, &key).instances.iter_mut() {
                mark(&mut Arc::make_mut(instance).state);
            }
            step.dirty.insert(key);
        }
    }

    /// Forgets the service that is empty the longest, unless it is not empty any more.
    pub(super) fn forget_empty(&mut self, step: &mut Step) {
        let Some((until, source, key)) = self.empties.pop_front() else {
            return;
        };
        let share = self
            .claims
            .get(&key)
            .and_then(|claims| claims.share(&source));
        let emptied_at = share.and_then(|share| share.emptied_at);
        if emptied_at.is_some_and(|at| at.after(EMPTY_SERVICE_KEPT) == until) {
            self.drop_share(step, &source, &key);
        }
    }

    /// A source does not speak of a service any more; it has no instances there.
    pub(super) fn drop_share(&mut self, step: &mut Step, source: &SourceId, key: &ServiceKey) {
        if let Some(claims) = self.claims.get_mut(key) {
            claims.drop_share(source);
        }
        self.holder(source).keys.remove(key);
        step.dirty.insert(key.clone());
    }

    pub(super) fn find(
        &self,
        source: &SourceId,
        key: &ServiceKey,
        id: &InstanceId,
    ) -> Option<&Arc<Instance>> {
        self.claims.get(key)?.share(source)?.instances.get(id)
    }

    /// What a source says about a service; an empty share if it said nothing yet.
    pub(super) fn share(&mut self, source: &SourceId, key: &ServiceKey) -> &mut Share {
        let claims = self.claims.get(key);
        if claims.and_then(|claims| claims.share(source)).is_none() {
            self.holder(source).keys.insert(key.clone());
        }
        let rank = self.ranks.get(source).copied();
        let claims = self.claims.entry(key.clone()).or_default();
        claims.share_mut(source, rank)
    }

    pub(super) fn holder(&mut self, source: &SourceId) -> &mut Holder {
        self.holders.entry(source.clone()).or_default()
    }

    pub(super) fn statuses(&self) -> Arc<[SourceStatus]> {
        let mut statuses: Vec<_> = self.holders.iter().collect();
        // The map is sorted by name, which settles what the order leaves open.
        statuses.sort_by_key(|(id, _)| self.ranks.get(*id).copied().unwrap_or(usize::MAX));
        let statuses = statuses.into_iter().map(|(id, holder)| holder.status(id));
        statuses.collect()
    }
}
