//! What Consul answers, as far as it is looked at.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An entry of `/v1/health/service`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) service: Service,
    #[serde(deserialize_with = "or_default")]
    pub(super) checks: Vec<Check>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Node {
    #[serde(rename = "Node")]
    pub(super) name: String,
    pub(super) address: String,
    pub(super) datacenter: String,
    pub(super) locality: Option<Locality>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Service {
    pub(super) kind: String,
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(rename = "Service")]
    pub(super) name: String,
    pub(super) address: String,
    pub(super) port: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) tags: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) meta: BTreeMap<String, String>,
    pub(super) weights: Option<Weights>,
    pub(super) locality: Option<Locality>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Weights {
    pub(super) passing: i64,
    pub(super) warning: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Locality {
    pub(super) zone: String,
}

/// A check: of an entry, or of `/v1/health/state`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Check {
    pub(super) node: String,
    #[serde(rename = "CheckID")]
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) notes: String,
    pub(super) output: String,
    pub(super) service_name: String,
    pub(super) modify_index: u64,
}

/// The answer to a prepared query.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Executed {
    #[serde(deserialize_with = "or_default")]
    pub(super) nodes: Vec<serde_json::Value>,
}

/// Nothing where Go writes null.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
