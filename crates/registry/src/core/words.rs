//! What the engine is told and what it says.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_catalog::{Bequest, Ruled};
use portolan_dialects::native::{Described, Misfit, Patch};
use portolan_model::{
    Change, Departure, Instance, InstanceId, Ruling, ServiceKey, Timestamp, Verdict, route::Check,
};
use serde::{Deserialize, Serialize};

use super::{Handed, LeaseRecord, Report, RulingRecord};

/// A point in time on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since the registry began, on the monotonic clock.
    pub uptime: Duration,
    /// The time on the wall.
    pub at: Timestamp,
}

/// What a registry allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How long an instance that does not say may be silent.
    pub ttl_default: Duration,
    /// The shortest that it may ask for.
    pub ttl_min: Duration,
    /// The longest that it may ask for.
    pub ttl_max: Duration,
    /// Instances in all.
    pub instances_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            ttl_default: Duration::from_secs(30),
            ttl_min: Duration::from_secs(1),
            ttl_max: Duration::from_hours(24),
            instances_max: 1_000_000,
        }
    }
}

/// Which instance of which service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// The service.
    pub key: ServiceKey,
    /// The instance.
    pub id: InstanceId,
}

impl Subject {
    /// Which one an instance is.
    #[must_use]
    pub fn of(instance: &Instance) -> Self {
        Self {
            key: instance.key.clone(),
            id: instance.id.clone(),
        }
    }
}

/// One drain of one instance; a later drain is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainId(pub(super) u64);

/// What somebody wants from the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// An instance describes itself, for the first time or again.
    Register(Box<Described>),
    /// An instance gives a sign of life and may report its health.
    Renew(Subject, Option<Report>),
    /// These instances give a sign of life.
    RenewAll(Vec<Subject>),
    /// Something about an instance is to be other than it said, until it registers again.
    Patch(Subject, Box<Patch>),
    /// Its front has other checks for an instance; what else it said stays.
    Recheck(Subject, Box<Recheck>),
    /// An operator rules about an instance, which may be of any source and need not be
    /// there; `None` takes back what was.
    Rule(Subject, Option<Arc<Ruling>>),
    /// Every ruling is asked for.
    Rulings,
    /// An instance leaves now.
    Deregister(Subject),
    /// An instance gets no new requests and leaves when [`Input::Drained`] comes, or
    /// at the latest after this span.
    Leave(Subject, Duration),
    /// The drain is over.
    Drained(Subject, DrainId),
    /// What the checks of an instance at that address found; `None` if there are none.
    Judge(Subject, SocketAddr, Option<Verdict>),
    /// Time has passed.
    Tick,
    /// Other limits hold from now on, for what comes.
    Rebound(Bounds),
    /// Everything is asked for, to be handed to a successor: from now on nothing is taken
    /// in that the successor would not know of.
    Export,
    /// The hand-over came to nothing.
    Resume,
    /// A predecessor's export is taken over.
    Adopt(Box<Handed>),
}

/// What a front that keeps a record with its instances changes when their checks do.
#[derive(Clone, Debug, PartialEq)]
pub struct Recheck {
    /// The pair that the record stands in.
    pub record: (Arc<str>, Arc<str>),
    /// The checks from now on.
    pub check: Option<Check>,
    /// What the instance says of its own health, if anything.
    pub report: Report,
}

/// What the prober should do from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckOrder {
    /// Check this instance, in place of an earlier order for it.
    Set(Subject, SocketAddr, Check),
    /// The same, and what was found before this process began: it holds until something
    /// else is found.
    Resume(Subject, SocketAddr, Check, Verdict),
    /// Do not check it on its own behalf any more.
    Clear(Subject),
}

/// What the engine answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// The instance was not known before.
    Created(Duration),
    /// The instance is known; this is its TTL.
    Kept(Duration),
    /// Those of many instances that are not here.
    Missing(Vec<Subject>),
    /// The ruling holds, or holds no more.
    Ruled,
    /// Every ruling.
    Rulings(Vec<RulingRecord>),
    /// The instance is being drained.
    Leaving(DrainId),
    /// The instance is gone.
    Removed,
    /// The drain that was to end is not the instance's any more.
    Returned,
    /// No such instance.
    Unknown,
    /// The registration is not taken.
    Refused(Refusal),
    /// Every lease; nothing of what the catalogue alone knows.
    Exported(Box<Handed>),
    /// There is nothing to say.
    #[default]
    Done,
}

/// Why a registration is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The registry is full.
    #[error("the registry holds its limit of {limit} instances")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// There are too many rulings.
    #[error("there are {limit} rulings of operators already")]
    RulingsFull {
        /// The limit.
        limit: usize,
    },
    /// What the instance would become has no place here.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// A successor has everything already.
    #[error("the registry is being handed to a successor; ask again")]
    HandedOver,
    /// The TTL is out of bounds.
    #[error("a ttl is from {min:?} to {max:?}")]
    Ttl {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
}

/// Something that must outlive the process: the last word about its subject counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// An instance's lease is so.
    Lease(Box<LeaseRecord>),
    /// The lease is gone. What ends by inference may still be held by the guard.
    NoLease(Subject, Departure),
    /// An operator ruled so.
    Ruling(RulingRecord),
    /// The ruling was taken back.
    NoRuling(Subject),
}

/// What follows from an input.
#[derive(Default, Clone, Debug, PartialEq)]
pub struct Step {
    /// Which one of its engine it is, counted from one.
    pub number: u64,
    /// Words for the catalogue, in order.
    pub changes: Vec<Change>,
    /// What operators ruled, for the catalogue.
    pub rulings: Vec<Ruled>,
    /// What must outlive the process, in order.
    pub facts: Vec<Fact>,
    /// What the catalogue is to know after them, beyond words.
    pub bequest: Option<Bequest>,
    /// Orders for the prober, in order.
    pub orders: Vec<CheckOrder>,
    /// The answer.
    pub answer: Answer,
}
