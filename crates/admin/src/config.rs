//! What is configured, where that was written, and what is wrong with it.

use portolan_config::{Digest, Finding, ObjectKind, Origin};
use portolan_model::{Revision, Timestamp};
use portolan_snapshot::Snapshot;
use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
pub(crate) struct Config {
    digest: Digest,
    objects: Vec<Object>,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
pub(crate) struct Routes {
    routes: Vec<Object>,
    /// Whether services are served by their names, too.
    automatic: bool,
}

/// An object as it was written.
#[derive(Serialize)]
struct Object {
    kind: ObjectKind,
    name: String,
    /// `portolan.yaml:12:3`.
    origin: String,
    digest: Digest,
    is_quarantined: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<String>,
    written: Value,
}

/// The answer to a reload.
#[derive(Serialize)]
pub(crate) struct Reloaded {
    pub(crate) revision: Revision,
}

pub(crate) fn config(snapshot: &Snapshot) -> Config {
    let plan = &snapshot.compiled.plan;
    Config {
        digest: plan.digest,
        objects: objects(snapshot, |_| true),
        findings: plan.findings.clone(),
    }
}

pub(crate) fn routes(snapshot: &Snapshot) -> Routes {
    Routes {
        routes: objects(snapshot, |kind| kind == ObjectKind::Route),
        automatic: snapshot.compiled.automatic.is_some(),
    }
}

fn objects(snapshot: &Snapshot, wanted: impl Fn(ObjectKind) -> bool) -> Vec<Object> {
    let plan = &snapshot.compiled.plan;
    let of_kind = plan
        .objects
        .iter()
        .filter(|(object, _)| wanted(object.kind));
    let shown = of_kind.map(|(object, described)| {
        let about = plan
            .findings
            .iter()
            .filter(|finding| finding.object.as_ref() == Some(object));
        Object {
            kind: object.kind,
            name: object.name.to_string(),
            origin: place(&described.origin),
            digest: described.digest,
            is_quarantined: described.quarantined,
            findings: about.map(ToString::to_string).collect(),
            // What was written is JSON text.
            written: serde_json::from_str(&described.written).unwrap_or_default(),
        }
    });
    shown.collect()
}

fn place(origin: &Origin) -> String {
    origin.to_string()
}

/// A time for people; none if nobody knows.
pub(crate) fn time(at: Timestamp) -> Option<String> {
    (at != Timestamp::default()).then(|| at.to_string())
}
