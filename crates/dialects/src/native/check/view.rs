//! Checks as they are shown.

use std::sync::Arc;

use portolan_model::{Health, Timestamp, route::Probe};
use serde::{Deserialize, Serialize};

use crate::native::Span;

/// The checks of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckList {
    /// The instance's own, in its order, and those of the configuration.
    pub checks: Vec<CheckView>,
}

/// One check of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// Its id.
    pub id: Arc<str>,
    /// What is done: `http`, `ttl`.
    pub kind: String,
    /// The configuration asks for it, not the instance.
    pub configured: bool,
    /// Between two probes.
    pub interval: Span,
    /// What it found.
    pub status: Health,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Arc<str>>,
    /// What the last probe was told.
    pub output: Arc<str>,
}

impl CheckView {
    /// A check of which nothing is known yet.
    #[must_use]
    pub fn new(probe: &Probe, configured: bool) -> Self {
        Self {
            id: Arc::clone(&probe.id),
            kind: probe.means.word().to_owned(),
            configured,
            interval: Span(probe.interval),
            status: Health::Starting,
            since: Timestamp::default(),
            note: None,
            output: "".into(),
        }
    }
}
