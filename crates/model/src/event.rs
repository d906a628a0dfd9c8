//! What sources say and the journal keeps.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Instance, InstanceId, Revision, ServiceKey, Timestamp};

/// Name of a source as configured: `registry`, `file:edge`, `dns:backend`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceId(Arc<str>);

impl SourceId {
    /// Names a source.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How somebody came to say that an instance is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    /// Somebody said so: a deregistration, a container's death. Always wins.
    Explicit,
    /// It was not heard of: a missed heartbeat, a shorter list, an ended session.
    /// The guard may hold it.
    Inferred,
}

/// Who caused an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The source that said so.
    pub source: SourceId,
    /// The person or program behind it, where known: an address, a token's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Arc<str>>,
}

/// The four words of the source contract.
///
/// A source speaks only of its own instances. `Reset` and `Put` end `Stale`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// Here is everything that I know; what I named before and do not name now is
    /// gone by inference. `services` may hold keys that have no instances.
    Reset {
        /// Every service that exists, with or without instances.
        services: Vec<ServiceKey>,
        /// Every instance.
        instances: Vec<Arc<Instance>>,
    },
    /// This instance is so; new or changed.
    Put {
        /// The instance, whole.
        instance: Arc<Instance>,
    },
    /// This instance is gone.
    Remove {
        /// Its service.
        key: ServiceKey,
        /// Its id.
        id: InstanceId,
        /// How that is known.
        departure: Departure,
    },
    /// I no longer know; keep what you have and mark it.
    Stale {
        /// Why, in words for a person.
        reason: Arc<str>,
    },
}

/// A change that the catalogue has taken in: a line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The catalogue's revision after it.
    pub revision: Revision,
    /// When it was taken in.
    pub at: Timestamp,
    /// Who said so.
    pub origin: Origin,
    /// What was said.
    #[serde(flatten)]
    pub change: Change,
}
