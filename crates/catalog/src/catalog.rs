//! The catalogue: what is known about every service at one revision.
//!
//! Immutable and cheap to clone. Services lie in shards that a new catalogue shares
//! with the one before, save for those that changed.

use std::sync::Arc;

use portolan_model::{Instance, InstanceId, Revision, ServiceKey, SourceId, Timestamp};
use serde::Serialize;

use crate::{Forgotten, GuardReport, Journal, Past, shards::Shards};

/// Everything that is known at one revision.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub(crate) revision: Revision,
    pub(crate) services: Shards,
    pub(crate) sources: Arc<[SourceStatus]>,
    pub(crate) guard: Arc<GuardReport>,
    pub(crate) journal: Journal,
}

/// A service and its instances, merged over all sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Which service.
    pub key: ServiceKey,
    /// The revision that changed it last.
    pub modified: Revision,
    /// Its instances, sorted by id; may be empty.
    pub instances: Vec<Arc<Instance>>,
    /// Ids that several sources claim, sorted by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
}

/// Several sources claim the same instance. The first source in the order of
/// precedence wins whole; nothing is mixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The instance.
    pub id: InstanceId,
    /// Whose word counts.
    pub winner: SourceId,
    /// Whose words do not, in the order of precedence.
    pub losers: Vec<SourceId>,
}

/// How a source is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    /// Which source.
    pub id: SourceId,
    /// Set while the source does not know; what it said last is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<Staleness>,
    /// Services that it speaks of.
    pub services: usize,
    /// Instances that it speaks of, those that are held included.
    pub instances: usize,
    /// Instances that the guard holds.
    pub held: usize,
    /// When it last spoke, as of this catalogue: a word that changed nothing makes
    /// no new catalogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<Timestamp>,
    /// When it last changed something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
}

/// Since when and why a source does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Staleness {
    /// Why, in the source's words; the latest.
    pub reason: Arc<str>,
    /// Since when.
    pub since: Timestamp,
}

impl Catalog {
    pub(crate) fn new(revision: Revision, now: Timestamp) -> Self {
        Self {
            revision,
            services: Shards::default(),
            sources: Arc::from([]),
            guard: Arc::default(),
            journal: Journal::new(revision, now),
        }
    }

    /// The revision of the last change.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The service of that key. `None` is a service that nobody ever named.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.services.find(key)
    }

    /// All services; the order is stable but has no meaning.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter()
    }

    /// All services in groups, always as many of them, each in the order of keys. A group that
    /// is the very same as that of an earlier catalogue has the same services, unchanged.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Vec<Arc<Service>>>> {
        self.services.groups()
    }

    /// How many services there are.
    #[must_use]
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// All sources, in the order of precedence.
    #[must_use]
    pub fn sources(&self) -> &[SourceStatus] {
        &self.sources
    }

    /// Whom the guard keeps, and why.
    #[must_use]
    pub fn guard(&self) -> &GuardReport {
        &self.guard
    }

    /// What happened lately.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The instances that a service had at an earlier revision, sorted by id, as far back as
    /// is in memory.
    ///
    /// # Errors
    /// [`Forgotten`] if the journal does not reach back that far.
    pub fn instances_at(
        &self,
        key: &ServiceKey,
        revision: Revision,
    ) -> Result<Vec<Arc<Instance>>, Forgotten> {
        self.instances_before(key, revision, None)
    }

    /// The same, as far back as was stored.
    ///
    /// # Errors
    /// [`Forgotten`] if neither journal reaches back that far.
    pub fn instances_before(
        &self,
        key: &ServiceKey,
        revision: Revision,
        past: Option<&Past>,
    ) -> Result<Vec<Arc<Instance>>, Forgotten> {
        let today = self
            .service(key)
            .map_or(&[][..], |service| &service.instances);
        self.journal.rewind(key, today, revision, past)
    }
}

/// A catalogue that nothing has been said to.
impl Default for Catalog {
    fn default() -> Self {
        Self::new(Revision::FIRST, Timestamp::default())
    }
}
