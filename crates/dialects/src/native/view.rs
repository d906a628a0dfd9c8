//! Instances and sources as readers see them.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use portolan_model::{
    Guard, Health, Instance, InstanceId, Metadata, Override, Revision, Ruling, ServiceKey,
    Timestamp, Weight,
};
use serde::{Deserialize, Serialize};

use crate::consul::RECORD_KEY;

/// An instance of the merged catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its service, without the namespace.
    pub service: Arc<str>,
    /// The service's namespace.
    pub namespace: Arc<str>,
    /// Its id, unique within the service.
    pub id: Arc<str>,
    /// Where its ports listen, by name.
    pub endpoints: BTreeMap<Arc<str>, SocketAddr>,
    /// The name of the port that is used when nobody names one.
    pub port: Arc<str>,
    /// Version of the software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Arc<str>>,
    /// Availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// Relative share of traffic; 100 is normal.
    pub weight: u16,
    /// Flat labels.
    #[serde(default)]
    pub tags: Vec<Arc<str>>,
    /// Key-value labels, without Portolan's own.
    #[serde(default)]
    pub metadata: Metadata,
    /// Who says so.
    pub source: Arc<str>,
    /// How its source calls it.
    #[serde(default)]
    pub foreign_id: Arc<str>,
    /// Since when it is there without a break; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<String>,
    /// Its health, as it or its check reports.
    pub status: Health,
    /// Since when; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Arc<str>>,
    /// What an operator said.
    #[serde(default, rename = "override")]
    pub overridden: Override,
    /// Who said so, when and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruling: Option<RulingView>,
    /// What the guard does with it.
    #[serde(default)]
    pub guard: Guard,
    /// It is being drained.
    #[serde(default)]
    pub leaving: bool,
    /// Its source no longer knows.
    #[serde(default)]
    pub stale: bool,
    /// Whether it may get requests, all of this considered.
    pub is_open: bool,
    /// When its source last confirmed it, where that is asked of the present; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<String>,
}

impl InstanceView {
    /// Every field by its name in JSON that conditions may ask about; the namespace stands in
    /// the path already.
    pub const FIELDS: &[&str] = &[
        "service",
        "id",
        "endpoints",
        "port",
        "version",
        "zone",
        "weight",
        "tags",
        "metadata",
        "source",
        "foreign_id",
        "first_seen",
        "status",
        "since",
        "note",
        "override",
        "ruling",
        "guard",
        "leaving",
        "stale",
        "is_open",
    ];
}

impl From<&Instance> for InstanceView {
    fn from(instance: &Instance) -> Self {
        let (namespace, service) = names(&instance.key);
        let state = &instance.state;
        let first = instance.endpoints.first();
        let endpoints = instance.endpoints.iter();
        Self {
            service,
            namespace,
            id: instance.id.as_str().into(),
            port: first.map_or("", |first| first.name.as_str()).into(),
            endpoints: endpoints
                .map(|endpoint| (endpoint.name.as_str().into(), endpoint.address))
                .collect(),
            version: instance.version.clone(),
            zone: instance.zone.clone(),
            weight: instance.weight.as_u16(),
            tags: instance.tags.to_vec(),
            metadata: shown_labels(&instance.metadata),
            source: instance.source.as_str().into(),
            foreign_id: instance.foreign_id().into(),
            first_seen: (state.first_seen != Timestamp::default())
                .then(|| state.first_seen.to_string()),
            status: state.health,
            since: (state.since != Timestamp::default()).then(|| state.since.to_string()),
            note: state.note.clone(),
            overridden: state.overridden,
            ruling: state.ruling.as_deref().map(RulingView::from),
            guard: state.guard,
            leaving: state.leaving,
            stale: state.stale,
            is_open: state.traffic().is_open(),
            confirmed_at: None,
        }
    }
}

/// The labels that every reader may see: definitions of checks may hold secrets.
fn shown_labels(metadata: &Metadata) -> Metadata {
    let mut labels = metadata.clone();
    labels.remove(RECORD_KEY);
    labels
}

/// Who ruled about an instance, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulingView {
    /// The share of traffic, if the ruling says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Arc<str>>,
    /// When; RFC 3339.
    pub at: String,
}

impl From<&Ruling> for RulingView {
    fn from(ruling: &Ruling) -> Self {
        Self {
            weight: ruling.weight.map(Weight::as_u16),
            reason: ruling.reason.clone(),
            actor: ruling.actor.clone(),
            at: ruling.at.to_string(),
        }
    }
}

/// An operator's ruling, and whom it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideView {
    /// A revision that holds it, in the answer to a write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The service, without the namespace.
    pub service: Arc<str>,
    /// The service's namespace.
    pub namespace: Arc<str>,
    /// The instance, which need not be there.
    pub id: Arc<str>,
    /// What becomes of its traffic.
    #[serde(rename = "override")]
    pub overridden: Override,
    /// Who said so, when and why.
    #[serde(flatten)]
    pub ruling: RulingView,
}

impl OverrideView {
    /// A ruling about that instance.
    #[must_use]
    pub fn new(key: &ServiceKey, id: &InstanceId, ruling: &Ruling) -> Self {
        let (namespace, service) = names(key);
        Self {
            revision: None,
            service,
            namespace,
            id: id.as_str().into(),
            overridden: ruling.traffic,
            ruling: RulingView::from(ruling),
        }
    }
}

/// Several sources claim the same instance; the winner's word counts whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictView {
    /// The instance.
    pub id: Arc<str>,
    /// Whose word counts.
    pub winner: Arc<str>,
    /// Whose words do not.
    pub losers: Vec<Arc<str>>,
}

/// Whether a source knows what it speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// It does.
    Current,
    /// Not any more; what it said last is kept.
    Stale,
    /// It has not said anything yet, not even that it does not know.
    Silent,
}

/// How a source is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceView {
    /// Its name: `registry`, `file:edge`.
    pub id: Arc<str>,
    /// Whether it knows what it speaks of.
    pub state: SourceState,
    /// Set while it does not know; what it said last is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<StalenessView>,
    /// Services that it speaks of.
    pub services: usize,
    /// Instances that it speaks of.
    pub instances: usize,
    /// Instances that the guard holds.
    pub held: usize,
    /// When it last spoke; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<String>,
    /// When it last changed something; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<String>,
    /// How it is getting on with what it reads.
    #[serde(flatten)]
    pub pulse: PulseView,
}

/// How a source is getting on with what it reads, since the program started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PulseView {
    /// Changes that it said.
    pub changes: u64,
    /// Changes a second over the last minute.
    pub changes_per_second: f64,
    /// How often it said everything anew.
    pub resyncs: u64,
    /// How often it lost what it reads.
    pub failures: u64,
    /// When what it reads last confirmed what it says; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<String>,
    /// What last went wrong, though it may be well again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<FailureView>,
    /// What it reads but can't use.
    pub unfit: u64,
    /// One of these and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfit_example: Option<Arc<str>>,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureView {
    /// When; RFC 3339.
    pub at: String,
    /// What, in words for people.
    pub reason: Arc<str>,
}

/// Since when and why a source does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StalenessView {
    /// Why, in its words.
    pub reason: Arc<str>,
    /// Since when; RFC 3339.
    pub since: String,
}

/// Namespace and name of a service.
pub(super) fn names(key: &ServiceKey) -> (Arc<str>, Arc<str>) {
    (key.namespace.to_shared(), key.name.to_shared())
}
