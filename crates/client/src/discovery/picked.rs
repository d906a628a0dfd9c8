//! An instance that was picked, and how the call to it went.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_balance::Endpoint;
use portolan_model::Instance;

use super::Service;

/// How long an instance gets no calls after it could not be reached; as much longer as that
/// was in a row, up to ten times.
const EJECTION: Duration = Duration::from_secs(1);
/// Failures in a row after which an instance gets no calls for a while.
const FAILURES_MAX: u32 = 5;

/// An instance to call. It counts as called until this is dropped; one that is dropped
/// without a report was cancelled, which says nothing about the instance.
#[derive(Debug)]
#[must_use = "an instance that is not called need not be picked"]
pub struct Picked {
    service: Service,
    endpoint: Endpoint,
    began: Instant,
}

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// There was no connection: nothing was sent. The instance gets no calls for a while, if
    /// there are others.
    Unreachable,
    /// The call broke off, took too long, or the answer was that of a broken instance. After
    /// five in a row the instance gets no calls for a while, if there are others.
    Failed,
}

impl Picked {
    pub(super) fn new(service: &Service, endpoint: Endpoint) -> Self {
        Self {
            began: service.shared.env.instant(),
            service: service.clone(),
            endpoint,
        }
    }

    /// Where to connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// The instance.
    #[must_use]
    pub const fn instance(&self) -> &Arc<Instance> {
        &self.endpoint.instance
    }

    /// How long ago it was picked.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let now = self.service.shared.env.instant();
        now.saturating_duration_since(self.began)
    }

    /// It answered, and took so long to the first byte of the answer.
    pub fn succeeded(&self, latency: Duration) {
        let (shared, slot) = (&self.service.shared, self.endpoint.slot);
        let now = shared.millis();
        shared.gauges.write(|gauges| {
            gauges.observe(slot, latency, now);
        });
        self.service.entry.books().failures.remove(&slot);
    }

    /// It did not do what was asked of it.
    pub fn failed(&self, failure: Failure) {
        let is_out = match failure {
            Failure::Unreachable => true,
            Failure::Failed => self.is_one_too_many(),
        };
        if is_out {
            let shared = &self.service.shared;
            let now = shared.millis();
            let eject = |gauges: &portolan_balance::WorkerGauges| {
                gauges.eject(self.endpoint.slot, EJECTION, now);
            };
            shared.gauges.write(eject);
        }
    }

    /// Counts a failure. Says whether there were too many in a row.
    fn is_one_too_many(&self) -> bool {
        let mut books = self.service.entry.books();
        let failures = &mut books.failures;
        let count = failures.entry(self.endpoint.slot).or_default();
        *count += 1;
        if *count < FAILURES_MAX {
            return false;
        }
        failures.remove(&self.endpoint.slot);
        true
    }

    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        let gauges = &self.service.shared.gauges;
        gauges.write(|gauges| gauges.count_ended(self.endpoint.slot));
    }
}
