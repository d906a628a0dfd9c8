//! What everybody may see of the guard: each hold with its cause, and whoever flaps.

use std::{sync::Arc, time::Duration};

use portolan_model::{InstanceId, ServiceKey, SourceId, Timestamp};

use super::{Absence, Cause, GuardSettings, Keeping, Traces, damping};

/// The guard, as of one catalogue.
#[derive(Clone, Debug, Default)]
pub struct GuardReport {
    /// How careful it is.
    pub settings: GuardSettings,
    /// Whom it keeps, by service, source and id.
    pub holds: Vec<HoldStatus>,
    /// Instances with a penalty for flapping, by service and id.
    pub flaps: Vec<FlapStatus>,
    /// What it did so far.
    pub totals: Totals,
}

/// One hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldStatus {
    /// The instance's service.
    pub key: ServiceKey,
    /// The instance.
    pub id: InstanceId,
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// Its source, which does not speak of it any more.
    pub source: SourceId,
    /// How it is kept.
    pub keeping: Keeping,
    /// How its source came not to speak of it.
    pub absence: Absence,
    /// Why it is kept.
    pub cause: Cause,
    /// Since when.
    pub since: Timestamp,
    /// When it may go at the earliest; none if its source or an operator has to say so.
    pub until: Option<Timestamp>,
    /// What requests met there, as of the last look.
    pub traces: Traces,
}

/// An instance's penalty for flapping.
#[derive(Clone, Debug, PartialEq)]
pub struct FlapStatus {
    /// The instance's service.
    pub key: ServiceKey,
    /// The instance.
    pub id: InstanceId,
    /// Its penalty after the last time that it went down.
    pub score: f64,
    /// When that was.
    pub at: Timestamp,
    /// In which half of the penalty is forgiven.
    pub half_life: Duration,
    /// Whether its traffic is reduced for it.
    pub is_damped: bool,
    /// When its traffic is no longer reduced, or its penalty forgotten.
    pub until: Timestamp,
}

impl FlapStatus {
    /// The penalty as it is by now.
    #[must_use]
    pub fn score_at(&self, now: Timestamp) -> f64 {
        damping::faded(self.score, now.since(self.at), self.half_life)
    }
}

/// How many instances went by inference, by how they came to go, and how many were held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Went at once: no scope lost too much.
    pub within_share: u64,
    /// Went when their hold was over.
    pub hold_over: u64,
    /// Were held and went early, because they refused connections or failed their check.
    pub found_dead: u64,
    /// Were held and went because an operator said so.
    pub released: u64,
    /// Were held.
    pub held: u64,
    /// Were kept because there was evidence that they are there.
    pub vouched: u64,
}

/// Which holds are meant: those that match everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Of that service.
    pub service: Option<ServiceKey>,
    /// Of that instance.
    pub id: Option<InstanceId>,
    /// In that zone.
    pub zone: Option<Arc<str>>,
    /// Of that source.
    pub source: Option<SourceId>,
}

impl Selector {
    /// Whether a hold is meant.
    #[must_use]
    pub fn matches(&self, hold: &HoldStatus) -> bool {
        let HoldStatus {
            key, id, source, ..
        } = hold;
        self.service.as_ref().is_none_or(|wanted| wanted == key)
            && self.id.as_ref().is_none_or(|wanted| wanted == id)
            && self.source.as_ref().is_none_or(|wanted| wanted == source)
            && (self.zone.is_none() || self.zone == hold.zone)
    }
}
