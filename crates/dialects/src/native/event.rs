//! Lines of the journal, in the shapes that instances have everywhere else.

use std::sync::Arc;

use portolan_model::{Change, Departure, Event, Origin, Revision, ServiceKey};
use serde::{Deserialize, Serialize};

use super::{Gone, InstanceView};

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// The catalogue's revision after it.
    pub revision: Revision,
    /// When it was taken in; RFC 3339.
    pub at: String,
    /// Who said so.
    pub origin: Origin,
    /// What was said.
    #[serde(flatten)]
    pub said: Said,
}

/// What a source said: the four words of the source contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Said {
    /// Everything that the source knows.
    Reset {
        /// The services that it named by themselves.
        services: Vec<ServiceKey>,
        /// Every instance.
        instances: Vec<InstanceView>,
    },
    /// This instance is so; new or changed.
    Put {
        /// The instance, whole, as the source described it.
        instance: Box<InstanceView>,
    },
    /// This instance is gone.
    Remove {
        /// Which.
        #[serde(flatten)]
        gone: Gone,
        /// How that is known.
        departure: Departure,
    },
    /// The source no longer knows.
    Stale {
        /// Why, in its words.
        reason: Arc<str>,
    },
}

impl From<&Event> for EventView {
    fn from(event: &Event) -> Self {
        Self {
            revision: event.revision,
            at: event.at.to_string(),
            origin: event.origin.clone(),
            said: Said::from(&event.change),
        }
    }
}

impl From<&Change> for Said {
    fn from(change: &Change) -> Self {
        match change {
            Change::Reset {
                services,
                instances,
            } => Self::Reset {
                services: services.clone(),
                instances: instances
                    .iter()
                    .map(|instance| InstanceView::from(&**instance))
                    .collect(),
            },
            Change::Put { instance } => Self::Put {
                instance: Box::new(InstanceView::from(&**instance)),
            },
            Change::Remove { key, id, departure } => Self::Remove {
                gone: Gone::new(key, id.as_str()),
                departure: *departure,
            },
            Change::Stale { reason } => Self::Stale {
                reason: Arc::clone(reason),
            },
        }
    }
}
