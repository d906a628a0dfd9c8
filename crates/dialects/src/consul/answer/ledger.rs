//! Keys, sessions, events, tokens and policies.

use std::{sync::Arc, time::Duration};

use data_encoding::BASE64;
use serde::{Serialize, Serializer};

use super::Indexes;
use crate::consul::{PolicyLink, SessionBehavior, SessionDefinition, write_duration};

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KvView {
    /// How often it was locked.
    pub lock_index: u64,
    /// The key.
    pub key: Arc<str>,
    /// A number that the client keeps with it.
    pub flags: u64,
    /// Base64; `null` if it is empty.
    #[serde(serialize_with = "base64_or_null")]
    pub value: Vec<u8>,
    /// Who holds the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Arc<str>>,
    /// Its indexes.
    #[serde(flatten)]
    pub indexes: Indexes,
}

fn base64_or_null<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_empty() {
        return serializer.serialize_none();
    }
    serializer.serialize_str(&BASE64.encode(value))
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SessionView {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: Arc<str>,
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// In nanoseconds.
    #[serde(serialize_with = "nanos")]
    pub lock_delay: Duration,
    /// `release` or `delete`.
    pub behavior: SessionBehavior,
    /// As Go writes it; empty if it has none.
    #[serde(rename = "TTL")]
    pub ttl: String,
    /// Checks of the node.
    pub node_checks: Vec<Arc<str>>,
    /// Checks of services, by id and namespace.
    pub service_checks: Vec<ServiceCheck>,
    /// Its indexes.
    #[serde(flatten)]
    pub indexes: Indexes,
}

/// A check of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceCheck {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: Arc<str>,
    /// Always empty.
    pub namespace: &'static str,
}

fn nanos<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

impl SessionView {
    /// A session of that id.
    #[must_use]
    pub fn new(id: Arc<str>, session: &SessionDefinition, indexes: Indexes) -> Self {
        let checks = session.service_checks.iter();
        Self {
            id,
            name: session.name.clone(),
            node: session.node.clone(),
            lock_delay: session.lock_delay,
            behavior: session.behavior,
            ttl: session.ttl.map(write_duration).unwrap_or_default(),
            node_checks: session.node_checks.clone(),
            service_checks: checks
                .map(|id| ServiceCheck {
                    id: Arc::clone(id),
                    namespace: "",
                })
                .collect(),
            indexes,
        }
    }
}

/// An event that somebody fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EventView {
    /// Its id, a UUID.
    #[serde(rename = "ID")]
    pub id: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Base64; `null` if it is empty.
    #[serde(serialize_with = "base64_or_null")]
    pub payload: Vec<u8>,
    /// For nodes that match this.
    pub node_filter: Arc<str>,
    /// For services that match this.
    pub service_filter: Arc<str>,
    /// For tags that match this.
    pub tag_filter: Arc<str>,
    /// Always 1.
    pub version: u32,
    /// Its place in time.
    #[serde(rename = "LTime")]
    pub ltime: u64,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TokenView {
    /// What everybody may know of it.
    #[serde(rename = "AccessorID")]
    pub accessor_id: Arc<str>,
    /// The token itself; left out of lists.
    #[serde(rename = "SecretID", skip_serializing_if = "Option::is_none")]
    pub secret_id: Option<Arc<str>>,
    /// What it is for.
    pub description: String,
    /// Its policies.
    pub policies: Vec<LinkView>,
    /// Whether it is for this datacenter only.
    pub local: bool,
    /// When it was made; RFC 3339.
    pub create_time: String,
    /// When it ends; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<String>,
    /// Changes with it.
    pub hash: String,
    /// Its indexes.
    #[serde(flatten)]
    pub indexes: Indexes,
}

/// A policy, by id and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LinkView {
    /// The id.
    #[serde(rename = "ID")]
    pub id: String,
    /// The name.
    pub name: String,
}

impl From<PolicyLink> for LinkView {
    fn from(link: PolicyLink) -> Self {
        Self {
            id: link.id,
            name: link.name,
        }
    }
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyView {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: Arc<str>,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its rules; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// Where it holds; everywhere if empty.
    pub datacenters: Vec<Arc<str>>,
    /// Changes with it.
    pub hash: String,
    /// Its indexes.
    #[serde(flatten)]
    pub indexes: Indexes,
}
