//! The one prober: HTTP and TCP checks of instances, whatever their source.
//!
//! An instance brings a check with its registration; the configuration adds checks for
//! whole services. The roster decides who is due and what the answers mean, the prober
//! makes the connections, never more than [`PROBES_MAX`] at a time. Verdicts about our
//! own instances go to the registry, those about others' to a [`Bench`].

mod counter;
mod probe;
mod prober;
mod roster;

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use portolan_model::{Metadata, Name, ServiceKey, Verdict, route::Check};

pub use prober::{Parts, Prober};

use crate::core::Subject;

/// Most probes under way at a time.
pub const PROBES_MAX: usize = 256;

/// A check of every instance of a service, as an upstream asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCheck {
    /// The service.
    pub key: ServiceKey,
    /// The named port to probe; the instance's first if none.
    pub port: Option<Name>,
    /// Only instances with these labels.
    pub subset: Metadata,
    /// The check.
    pub check: Check,
}

/// Verdicts being delivered.
pub type Hearing<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Where verdicts about instances of other sources than the registry go: whoever folds
/// them into the instances' health.
pub trait Bench: Send + Sync {
    /// Called whenever a verdict changes; `None` when the instance is no longer checked
    /// or has gone. `address` is the instance's first: a verdict about an address that it
    /// has left says nothing. Verdicts about one instance come in order.
    fn hear<'a>(
        &'a self,
        subject: &'a Subject,
        address: SocketAddr,
        verdict: Option<Verdict>,
    ) -> Hearing<'a>;
}

/// How a probe ended: well, or why not.
type Outcome = Result<(), Arc<str>>;
