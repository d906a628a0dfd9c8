//! The guard as readers see it, and what operators say to it.

use std::sync::Arc;

use portolan_model::{InstanceId, Name, Revision, ServiceKey};
use serde::{Deserialize, Serialize};

use super::{Misfit, Span};

/// Whom the guard keeps and why, and whose traffic is reduced for flapping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardView {
    /// How careful it is.
    pub settings: GuardSettingsView,
    /// Whom it keeps.
    pub holds: Vec<HoldView>,
    /// Instances that went down lately, with their penalties.
    pub flaps: Vec<FlapView>,
}

/// How careful the guard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardSettingsView {
    /// The share of a scope that may go within one hold time, in percent.
    pub share: u8,
    /// How long a suspect is held.
    pub hold: Span,
    /// How long an answer speaks for an instance.
    pub evidence: Span,
    /// In which half of a penalty is forgiven.
    pub half_life: Span,
}

/// One hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    /// The instance's service, without the namespace.
    pub service: Arc<str>,
    /// The service's namespace.
    pub namespace: Arc<str>,
    /// The instance's id.
    pub id: Arc<str>,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// Its source.
    pub source: Arc<str>,
    /// `suspect`, `told` (an operator keeps it) or `vouched` (there is evidence).
    pub keeping: Arc<str>,
    /// `silent` or `unlisted`.
    pub absence: Arc<str>,
    /// Of what too much would have gone: `service`, `zone`, `source`, `all`; or why else it
    /// is kept: `predecessor`, `evidence`.
    pub scope: Arc<str>,
    /// How many would have gone within one hold time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<usize>,
    /// How many were expected to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<usize>,
    /// The cause in a sentence.
    pub cause: String,
    /// Since when; RFC 3339.
    pub since: String,
    /// When it may go at the earliest; absent if its source or an operator has to say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// When it last answered a request well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<String>,
    /// When it last refused a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_at: Option<String>,
}

/// An instance's penalty for flapping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlapView {
    /// The instance's service, without the namespace.
    pub service: Arc<str>,
    /// The service's namespace.
    pub namespace: Arc<str>,
    /// The instance's id.
    pub id: Arc<str>,
    /// The penalty as it is now.
    pub score: f64,
    /// Whether its traffic is reduced for it.
    pub is_damped: bool,
    /// When its traffic is whole again, or the penalty forgotten; RFC 3339.
    pub until: String,
}

/// The body of a call that resolves holds: those that match everything that is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveShape {
    /// What is to become of them.
    pub action: ResolveAction,
    /// Of that service; of all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Name>,
    /// The service's namespace; `default` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// Of that instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<InstanceId>,
    /// In that zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// Of that source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Arc<str>>,
}

/// What is to become of holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolveAction {
    /// The instances go now.
    Release,
    /// The instances stay until they are heard of.
    Keep,
}

impl ResolveShape {
    /// The service that is meant, if one is.
    ///
    /// # Errors
    /// [`Misfit`]: a namespace without a service.
    pub fn key(&self) -> Result<Option<ServiceKey>, Misfit> {
        match (&self.service, &self.namespace) {
            (Some(name), Some(namespace)) => Ok(Some(ServiceKey {
                namespace: namespace.clone(),
                name: name.clone(),
            })),
            (Some(name), None) => Ok(Some(ServiceKey::in_default(name.clone()))),
            (None, Some(_)) => Err(Misfit::new("/namespace", "a namespace needs a service")),
            (None, None) => Ok(None),
        }
    }
}

/// The answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The catalogue's revision after it.
    pub revision: Revision,
    /// How many holds were meant.
    pub resolved: usize,
}
