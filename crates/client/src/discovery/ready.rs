//! Whether enough is known to begin.

use std::{sync::Arc, time::Duration};

use portolan_catalog::Catalog;
use portolan_model::SourceId;

use super::Shared;

/// What is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// What the sources say.
    Live,
    /// At least one source is away; what it said to an earlier run of the program, or
    /// before it was lost, stands in.
    Remembered,
}

/// Sources that have told nothing yet, and of which nothing is remembered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not discovered within {} ms: {}", within.as_millis(), told(.waits))]
pub struct NotReady {
    /// How long it was waited.
    pub within: Duration,
    /// Which sources, and what the last one to fail said; empty while it has not answered.
    pub waits: Vec<(SourceId, Arc<str>)>,
}

/// How one source is.
enum Standing {
    Live,
    Remembered,
    Waits(Arc<str>),
}

pub(super) async fn ready(shared: &Shared, within: Duration) -> Result<Ready, NotReady> {
    let mut catalog = shared.catalog.clone();
    let is_ready = |catalog: &Catalog| waits(shared, catalog).is_empty();
    let told = shared.env.timeout(within, catalog.wait_for(is_ready)).await;
    // A publisher that has ended tells no more.
    if let Ok(Ok(catalog)) = &told {
        let is_live = |source| matches!(standing(catalog, source), Standing::Live);
        let all = shared.sources.iter().all(is_live);
        return Ok(if all { Ready::Live } else { Ready::Remembered });
    }
    drop(told);
    let waits = waits(shared, &shared.catalog.borrow());
    Err(NotReady { within, waits })
}

fn waits(shared: &Shared, catalog: &Catalog) -> Vec<(SourceId, Arc<str>)> {
    let sources = shared.sources.iter();
    let waiting = sources.filter_map(|source| match standing(catalog, source) {
        Standing::Waits(reason) => Some((source.clone(), reason)),
        Standing::Live | Standing::Remembered => None,
    });
    waiting.collect()
}

fn standing(catalog: &Catalog, source: &SourceId) -> Standing {
    let status = catalog.sources().iter().find(|status| status.id == *source);
    // One that only memory spoke for has not been tried yet.
    let Some(status) = status.filter(|status| status.heard_at.is_some()) else {
        return Standing::Waits("".into());
    };
    match &status.stale {
        None => Standing::Live,
        Some(_) if status.instances > 0 => Standing::Remembered,
        Some(staleness) => Standing::Waits(Arc::clone(&staleness.reason)),
    }
}

fn told(waits: &[(SourceId, Arc<str>)]) -> String {
    let told = waits.iter().map(|(source, reason)| match &**reason {
        "" => format!("source `{source}` has not answered yet"),
        reason => format!("source `{source}`: {reason}"),
    });
    told.collect::<Vec<_>>().join("; ")
}
