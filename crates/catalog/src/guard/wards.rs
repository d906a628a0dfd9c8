//! What the guard watches over across services and sources: zones, and everything.
//!
//! A broken link or a site without power shows in a zone long before it shows in any one
//! service that has a few instances there.
//!
//! Invariant: a zone is kept only while it has instances that get traffic, or had lately.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use portolan_model::Timestamp;

use super::{Excess, Floor, GuardSettings, Losses};

/// Zones by their names, and everything.
#[derive(Debug, Default)]
pub(crate) struct Wards {
    zones: BTreeMap<Arc<str>, Ward>,
    all: Ward,
    /// Zones that lost something, in the order of time: names do not pile up.
    lately: VecDeque<(Timestamp, Arc<str>)>,
}

/// One scope: what gets traffic now, and what went lately.
#[derive(Debug, Default)]
struct Ward {
    sure: usize,
    losses: Losses,
}

impl Wards {
    /// Counts an instance that gets traffic now, by its zone.
    pub(crate) fn came(&mut self, zone: Option<&Arc<str>>) {
        self.all.sure += 1;
        if let Some(zone) = zone {
            self.zones.entry(Arc::clone(zone)).or_default().sure += 1;
        }
    }

    /// Counts an instance that gets no traffic any more.
    pub(crate) fn went(&mut self, zone: Option<&Arc<str>>) {
        self.all.sure = self.all.sure.saturating_sub(1);
        let Some(zone) = zone else { return };
        if let Some(ward) = self.zones.get_mut(zone) {
            ward.sure = ward.sure.saturating_sub(1);
            if ward.is_idle() {
                self.zones.remove(zone);
            }
        }
    }

    /// Whether a zone may lose so many.
    pub(crate) fn weigh_zone(
        &mut self,
        settings: &GuardSettings,
        now: Timestamp,
        zone: &Arc<str>,
        loss: usize,
    ) -> Result<(), Excess> {
        let Some(ward) = self.zones.get_mut(zone) else {
            return Ok(());
        };
        let asked = (ward.sure, loss);
        ward.losses.weigh(settings, now, asked, Floor::Zero)
    }

    /// Whether so many may go in all.
    pub(crate) fn weigh_all(
        &mut self,
        settings: &GuardSettings,
        now: Timestamp,
        loss: usize,
    ) -> Result<(), Excess> {
        let asked = (self.all.sure, loss);
        self.all.losses.weigh(settings, now, asked, Floor::Zero)
    }

    /// Takes note of instances of a zone that went by inference.
    pub(crate) fn lost_in(
        &mut self,
        settings: &GuardSettings,
        zone: &Arc<str>,
        now: Timestamp,
        count: usize,
    ) {
        let ward = self.zones.entry(Arc::clone(zone)).or_default();
        ward.losses.lost(now, count);
        self.lately.push_back((now, Arc::clone(zone)));
        self.forget(settings, now);
    }

    /// Takes note of instances that went by inference.
    pub(crate) fn lost(&mut self, now: Timestamp, count: usize) {
        self.all.losses.lost(now, count);
    }

    /// Takes note of an instance that came to a zone: it makes up for one that went.
    pub(crate) fn gained_in(&mut self, zone: &Arc<str>) {
        if let Some(ward) = self.zones.get_mut(zone) {
            ward.losses.gained();
        }
    }

    /// Takes note of an instance that came.
    pub(crate) fn gained(&mut self) {
        self.all.losses.gained();
    }

    /// Forgets zones in which there is nothing and that lost nothing lately.
    fn forget(&mut self, settings: &GuardSettings, now: Timestamp) {
        while let Some((at, _)) = self.lately.front()
            && now.since(*at) >= settings.hold
            && let Some((_, zone)) = self.lately.pop_front()
        {
            if let Some(ward) = self.zones.get_mut(&zone) {
                ward.losses.forget(now, settings.hold);
                if ward.is_idle() {
                    self.zones.remove(&zone);
                }
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, BTreeMap<Arc<str>, usize>) {
        let sure = |(zone, ward): (&Arc<str>, &Ward)| (Arc::clone(zone), ward.sure);
        let zones = self.zones.iter().map(sure);
        (self.all.sure, zones.filter(|(_, sure)| *sure > 0).collect())
    }
}

impl Ward {
    fn is_idle(&self) -> bool {
        self.sure == 0 && self.losses.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_zone_may_lose_its_share_although_everything_may_lose_more() {
        let (mut wards, settings) = (Wards::default(), GuardSettings::default());
        let (small, large): (Arc<str>, Arc<str>) = ("small".into(), "large".into());
        (0..20).for_each(|_| wards.came(Some(&small)));
        (0..80).for_each(|_| wards.came(Some(&large)));
        assert_eq!(wards.weigh_zone(&settings, at(0), &small, 3), Ok(()));
        assert!(wards.weigh_zone(&settings, at(0), &small, 4).is_err());
        assert_eq!(wards.weigh_all(&settings, at(0), 15), Ok(()));
        assert!(wards.weigh_all(&settings, at(0), 16).is_err());
    }

    #[test]
    fn a_zone_of_one_may_be_empty_and_is_forgotten_then() {
        let (mut wards, settings) = (Wards::default(), GuardSettings::default());
        let zone: Arc<str> = "a".into();
        wards.came(Some(&zone));
        assert_eq!(wards.weigh_zone(&settings, at(0), &zone, 1), Ok(()));
        wards.lost_in(&settings, &zone, at(0), 1);
        wards.went(Some(&zone));
        wards.lost_in(&settings, &"b".into(), at(299), 1);
        assert_eq!(wards.zones.len(), 2);
        wards.lost_in(&settings, &"b".into(), at(300), 1);
        assert_eq!(wards.zones.len(), 1);
    }
}
