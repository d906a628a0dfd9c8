//! Addresses that stay for a while although answers do not name them any more. Pure.
//!
//! Some servers answer with a few addresses out of many, others each time; what one answer
//! lacks the next one has.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::map::{ADDRESSES_MAX, Place, Report};

/// When each was last named. No more than can be told is remembered.
#[derive(Debug, Default)]
pub(super) struct Linger {
    addresses: BTreeMap<IpAddr, Instant>,
    places: BTreeMap<SocketAddr, (Place, Instant)>,
}

impl Linger {
    /// Adds to a report what was named within the span before. A name that has nothing any
    /// more has nothing, at once.
    pub(super) fn over(&mut self, mut report: Report, keep: Duration, now: Instant) -> Report {
        if keep.is_zero() {
            return report;
        }
        let is_recent = |at: Instant| now.saturating_duration_since(at) <= keep;
        self.addresses
            .extend(report.addresses.iter().map(|ip| (*ip, now)));
        let named = !report.addresses.is_empty();
        self.addresses.retain(|_, at| named && is_recent(*at));
        forget_oldest(&mut self.addresses, |at| *at);
        let named = !report.places.is_empty();
        self.places.extend(
            report
                .places
                .drain(..)
                .map(|place| (place.address, (place, now))),
        );
        self.places.retain(|_, (_, at)| named && is_recent(*at));
        forget_oldest(&mut self.places, |(_, at)| *at);
        report.addresses = self.addresses.keys().copied().collect();
        let places = self.places.values();
        report.places = places.map(|(place, _)| place.clone()).collect();
        report
    }

    /// How much is remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.addresses.len().saturating_add(self.places.len())
    }
}

/// Keeps no more than can be told: what was named last.
fn forget_oldest<K: Ord + Copy, V>(known: &mut BTreeMap<K, V>, named_at: impl Fn(&V) -> Instant) {
    let excess = known.len().saturating_sub(ADDRESSES_MAX);
    if excess == 0 {
        return;
    }
    let mut by_age: Vec<_> = known
        .iter()
        .map(|(key, one)| (named_at(one), *key))
        .collect();
    by_age.sort_unstable();
    for (_, key) in by_age.into_iter().take(excess) {
        known.remove(&key);
    }
}
