//! Addresses that stay for a while although answers do not name them any more. Pure.
//!
//! Some servers answer with a few addresses out of many, others each time; what one answer
//! lacks the next one has.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::map::{ADDRESSES_MAX, Place, Report};

/// When each was last named.
#[derive(Debug, Default)]
pub(super) struct Linger {
    addresses: BTreeMap<std::net::IpAddr, Instant>,
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
        let named = !report.places.is_empty();
        self.places.extend(
            report
                .places
                .drain(..)
                .map(|place| (place.address, (place, now))),
        );
        self.places.retain(|_, (_, at)| named && is_recent(*at));
        report.addresses = self.addresses.keys().copied().take(ADDRESSES_MAX).collect();
        report.places = self
            .places
            .values()
            .map(|(place, _)| place.clone())
            .take(ADDRESSES_MAX)
            .collect();
        report
    }
}
