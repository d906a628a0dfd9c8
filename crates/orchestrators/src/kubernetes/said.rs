//! What was said of each Service, and what of it is about to go. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use portolan_model::{InstanceId, ServiceKey};
use portolan_sources::frame::{self, Unfits};

use super::cluster::{Everything, Place};

/// How long an endpoint that went is waited for: it may only move to another slice.
pub(super) const MOVE: Duration = Duration::from_millis(500);

/// What was said of each Service, and what of it is about to go. By the settings'
/// expressions several Services may name the same instance: it is gone when none does.
#[derive(Debug, Default)]
pub(super) struct Said {
    of: BTreeMap<Place, BTreeSet<frame::Place>>,
    /// The Services that an instance was said of.
    claims: BTreeMap<ServiceKey, BTreeMap<InstanceId, BTreeSet<Place>>>,
    /// What no slice names any more, and since when.
    missing: BTreeMap<Place, BTreeMap<frame::Place, Instant>>,
    /// Services that changed, and when what has gone of them is settled.
    due: BTreeMap<Place, Instant>,
    dues: BTreeSet<(Instant, Place)>,
    /// What can't be used of each Service, and of all.
    unfits: BTreeMap<Place, Unfits>,
    unfit: u64,
}

impl Said {
    /// Everything was said.
    pub(super) fn replace(&mut self, all: &mut Everything) {
        *self = Self::default();
        for (place, there) in std::mem::take(&mut all.said) {
            self.claim(&place, there);
        }
        for (place, unfits) in std::mem::take(&mut all.unfits) {
            self.pass_over(&place, unfits);
        }
    }

    /// Those instances are there of a Service; what is not any more is missing from now on.
    pub(super) fn note(&mut self, place: &Place, there: BTreeSet<frame::Place>, now: Instant) {
        let said = self.of.get(place).into_iter().flatten();
        let mut before = self.missing.remove(place).unwrap_or_default();
        let missing: BTreeMap<_, _> = said
            .filter(|one| !there.contains(*one))
            .map(|one| (one.clone(), before.remove(one).unwrap_or(now)))
            .collect();
        if !missing.is_empty() {
            self.missing.insert(place.clone(), missing);
        }
        self.claim(place, there);
        if !self.due.contains_key(place) {
            self.settle_at(place, now.checked_add(MOVE).unwrap_or(now));
        }
    }

    fn claim(&mut self, place: &Place, there: BTreeSet<frame::Place>) {
        if there.is_empty() {
            return;
        }
        for (key, id) in &there {
            let ids = self.claims.entry(key.clone()).or_default();
            let claims = ids.entry(id.clone()).or_default();
            claims.insert(place.clone());
        }
        self.of.entry(place.clone()).or_default().extend(there);
    }

    /// The Service by which an instance is described: of several the first.
    pub(super) fn owner(&self, (key, id): &frame::Place) -> Option<&Place> {
        self.claims.get(key)?.get(id)?.first()
    }

    /// Whether there are instances of a service.
    pub(super) fn is_used(&self, key: &ServiceKey) -> bool {
        self.claims.contains_key(key)
    }

    /// When the next Service is to be settled.
    pub(super) fn settles_at(&self) -> Option<Instant> {
        self.dues.first().map(|(at, _)| *at)
    }

    /// Takes out a Service that is to be settled by now.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Place> {
        let (_, place) = self
            .dues
            .first()
            .filter(|(at, _)| *at <= now)
            .cloned()
            .and_then(|first| self.dues.take(&first))?;
        self.due.remove(&place);
        Some(place)
    }

    fn settle_at(&mut self, place: &Place, at: Instant) {
        self.due.insert(place.clone(), at);
        self.dues.insert((at, place.clone()));
    }

    /// Takes out what has been missing of a Service for long enough to be gone. What has not
    /// is settled later.
    pub(super) fn gone(&mut self, place: &Place, now: Instant) -> Vec<frame::Place> {
        let Some(mut missing) = self.missing.remove(place) else {
            return Vec::new();
        };
        let is_over = |since: Instant| now.saturating_duration_since(since) >= MOVE;
        let over: Vec<_> = missing
            .iter()
            .filter(|(_, since)| is_over(**since))
            .map(|(one, _)| one.clone())
            .collect();
        for one in &over {
            missing.remove(one);
            self.forget(place, one);
        }
        if let Some(since) = missing.values().min() {
            self.settle_at(place, since.checked_add(MOVE).unwrap_or(now));
            self.missing.insert(place.clone(), missing);
        }
        over
    }

    fn forget(&mut self, place: &Place, one: &frame::Place) {
        if let Some(said) = self.of.get_mut(place) {
            said.remove(one);
            if said.is_empty() {
                self.of.remove(place);
            }
        }
        let (key, id) = one;
        let Some(ids) = self.claims.get_mut(key) else {
            return;
        };
        if let Some(claims) = ids.get_mut(id) {
            claims.remove(place);
            if claims.is_empty() {
                ids.remove(id);
            }
        }
        if ids.is_empty() {
            self.claims.remove(key);
        }
    }

    /// That much of a Service can't be used. Gives how much of all can't.
    pub(super) fn pass_over(&mut self, place: &Place, unfits: Unfits) -> (u64, Option<&str>) {
        let count = unfits.count();
        let before = if count == 0 {
            self.unfits.remove(place)
        } else {
            self.unfits.insert(place.clone(), unfits)
        };
        let before = before.map_or(0, |before| before.count());
        self.unfit = self.unfit.saturating_sub(before).saturating_add(count);
        let example = self.unfits.values().next();
        (self.unfit, example.and_then(Unfits::example))
    }
}
