//! Checks.

use std::sync::Arc;

use portolan_model::Health;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::Indexes;
use crate::consul::filter::Shape;

/// A check and its state.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CheckView {
    /// The node.
    pub node: Arc<str>,
    /// Its id.
    #[serde(rename = "CheckID")]
    pub id: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its state.
    #[serde(serialize_with = "status")]
    pub status: Health,
    /// What it is for.
    pub notes: Arc<str>,
    /// What it said last.
    pub output: Arc<str>,
    /// The service; empty if it is the node's.
    #[serde(rename = "ServiceID")]
    pub service_id: Arc<str>,
    /// The service's name.
    pub service_name: Arc<str>,
    /// The service's tags.
    pub service_tags: Vec<Arc<str>>,
    /// What it does.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// How often.
    pub interval: Arc<str>,
    /// For how long.
    pub timeout: Arc<str>,
    /// Never used.
    pub exposed_port: u16,
    /// Its settings; always there, always empty.
    pub definition: Map<String, Value>,
    /// Its indexes.
    #[serde(flatten)]
    pub indexes: Indexes,
}

/// What a state is called: what has not started yet is critical.
#[must_use]
pub const fn status_name(health: Health) -> &'static str {
    match health {
        Health::Passing => "passing",
        Health::Warning => "warning",
        Health::Starting | Health::Critical => "critical",
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
fn status<S: Serializer>(health: &Health, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(status_name(*health))
}

impl CheckView {
    /// What filters may select.
    pub const SHAPE: Shape = Shape::Object(Self::FIELDS);
    pub(super) const FIELDS: &'static [(&'static str, Shape)] = &[
        ("Node", Shape::Text),
        ("CheckID", Shape::Text),
        ("Name", Shape::Text),
        ("Status", Shape::Text),
        ("Notes", Shape::Text),
        ("Output", Shape::Text),
        ("ServiceID", Shape::Text),
        ("ServiceName", Shape::Text),
        ("ServiceTags", Shape::List(&Shape::Text)),
        ("Type", Shape::Text),
        ("Interval", Shape::Text),
        ("Timeout", Shape::Text),
        ("ExposedPort", Shape::Number),
        ("Definition", Shape::Object(&[])),
        ("CreateIndex", Shape::Number),
        ("ModifyIndex", Shape::Number),
    ];

    /// The check that says that the node is alive.
    #[must_use]
    pub fn alive(node: &Arc<str>, indexes: Indexes) -> Self {
        Self {
            node: Arc::clone(node),
            id: "serfHealth".into(),
            name: "Serf Health Status".into(),
            status: Health::Passing,
            notes: "".into(),
            output: "Agent alive and reachable".into(),
            service_id: "".into(),
            service_name: "".into(),
            service_tags: Vec::new(),
            kind: "",
            interval: "".into(),
            timeout: "".into(),
            exposed_port: 0,
            definition: Map::new(),
            indexes,
        }
    }

    /// What it is called in answers.
    #[must_use]
    pub const fn status_name(&self) -> &'static str {
        status_name(self.status)
    }

    /// Whether it is of that state; `any` is every state.
    #[must_use]
    pub fn is(&self, state: &str) -> bool {
        state == "any" || self.status_name() == state
    }
}
