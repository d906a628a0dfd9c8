//! The one prober: checks of instances, whatever their source.
//!
//! An instance brings its checks with its registration; the configuration adds checks for
//! whole services. The roster decides who is due and what the outcomes mean, [`turns`]
//! who may go next, so that hosts which let probes time out wait for each other and for
//! nobody else. The [`Reach`] makes the connections. Verdicts about our own instances go
//! to the registry, those about others' to a [`Bench`]; every check's own state is on the
//! board, which [`Checks`] reads.
//!
//! An instance's health is the worst that its checks found. A check that has not ended
//! yet holds nobody back who had traffic before, but nobody gets traffic by one good
//! check while another one of its own has not ended.

mod board;
mod counter;
mod prober;
mod roster;
mod turns;

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use portolan_model::{
    Metadata, Name, ServiceKey, Verdict,
    route::{Check, Probe},
};
use portolan_probe::Task;

pub use board::{CheckState, Checks, ReportError, Reports};
pub use portolan_probe::{Outcome, Reach, ReachSettings};
pub use prober::{Parts, Prober};
pub use turns::PROBES_MAX;

use crate::core::Subject;

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

/// One probe to make, by whoever is asked to.
#[derive(Clone, Debug)]
pub struct Errand {
    /// Whom it is about.
    pub subject: Subject,
    /// The address that is checked.
    pub address: SocketAddr,
    /// What to do.
    pub probe: Arc<Probe>,
}

/// A probe under way.
pub type Probing<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Makes probes. The program gives a [`Reach`]; tests give their own.
pub trait Errands: Send + Sync {
    /// Called for each probe that is due, at most [`PROBES_MAX`] at a time. Ends within
    /// the probe's timeout. Dropping the future gives up whatever it holds.
    fn run(&self, errand: Errand) -> Probing<'_>;
}

impl Errands for Reach {
    fn run(&self, errand: Errand) -> Probing<'_> {
        Box::pin(async move {
            let task = Task {
                about: Some((&errand.subject.key, &errand.subject.id)),
                address: errand.address,
                probe: &errand.probe,
            };
            self.probe(task).await
        })
    }
}
