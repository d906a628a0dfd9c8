//! Whether traffic should come.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::StatusCode;
use portolan_model::SourceId;
use portolan_snapshot::Snapshot;
use portolan_wire::serve::Response;
use serde::Serialize;

use crate::answer::json;

/// Whether traffic should come: set once everything is open, taken back when the drain
/// begins. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

#[derive(Serialize)]
pub(crate) struct Live {
    pub(crate) live: bool,
}

#[derive(Serialize)]
struct Outlook {
    ready: bool,
    /// Sources that have not answered yet.
    silent: Vec<SourceId>,
    /// Sources that do not know; what they said last is kept.
    stale: Vec<SourceId>,
}

impl Readiness {
    /// Says whether traffic should come.
    pub fn set(&self, is_ready: bool) {
        self.0.store(is_ready, Ordering::Release);
    }

    /// Whether traffic should come.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn answer(&self, snapshot: &Snapshot) -> Response {
        let ready = self.is_ready();
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let sources = snapshot.catalog.sources().iter();
        let stale = sources.filter(|source| source.stale.is_some());
        let body = Outlook {
            ready,
            silent: silent_sources(
                snapshot,
                snapshot
                    .compiled
                    .plan
                    .sources
                    .iter()
                    .map(|planned| &planned.id),
            ),
            stale: stale.map(|source| source.id.clone()).collect(),
        };
        json(status, &body)
    }
}

/// Those of the sources that have not said anything yet, not even that they do not
/// know, and of which nothing is remembered. Readiness should wait for them, but not for
/// ever.
#[must_use]
pub fn silent_sources<'a>(
    snapshot: &Snapshot,
    sources: impl Iterator<Item = &'a SourceId>,
) -> Vec<SourceId> {
    let has_spoken = |id: &SourceId| {
        let mut known = snapshot.catalog.sources().iter();
        known
            .any(|source| source.id == *id && (source.heard_at.is_some() || source.stale.is_some()))
    };
    sources.filter(|id| !has_spoken(id)).cloned().collect()
}
