//! The way back from the data plane: has everybody let go of an instance?

use std::{future::Future, pin::Pin, time::Duration};

use portolan_model::{InstanceId, Revision, ServiceKey};

/// The answer of a [`Witness`], later.
pub type Settling<'a> = Pin<Box<dyn Future<Output = Settled> + Send + 'a>>;

/// How waiting for an instance to fall idle ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Nobody can pick it any more and no request is in flight to it.
    Idle,
    /// Time ran out first.
    Deadline {
        /// Requests that were still in flight.
        in_flight: usize,
    },
}

/// Sees all workers of the data plane. The registry asks it before it answers a
/// deregistration with drain.
pub trait Witness: Send + Sync {
    /// Resolves when every worker is past revision `after` and the instance has no
    /// request in flight, or after `within`. Called once a drain, never on the
    /// request path; cancel-safe.
    fn settled<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a InstanceId,
        after: Revision,
        within: Duration,
    ) -> Settling<'a>;
}
