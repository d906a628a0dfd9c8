//! Services, in the three shapes in which clients get them.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::{Value, json};

use super::{CheckView, Indexes, NodeView};
use crate::consul::{Locality, TaggedAddress, Weights, filter::Shape};

const PROXY: Shape = Shape::Object(&[
    ("DestinationServiceName", Shape::Text),
    ("DestinationServiceID", Shape::Text),
    ("LocalServiceAddress", Shape::Text),
    ("LocalServicePort", Shape::Number),
    ("LocalServiceSocketPath", Shape::Text),
    ("Mode", Shape::Text),
    ("MeshGateway", Shape::Object(&[("Mode", Shape::Text)])),
    ("Expose", Shape::Object(&[])),
]);
const CONNECT: Shape = Shape::Object(&[("Native", Shape::Truth)]);
const WEIGHTS: Shape = Shape::Object(&[("Passing", Shape::Number), ("Warning", Shape::Number)]);
const TAGGED: Shape = Shape::Map(&Shape::Object(&[
    ("Address", Shape::Text),
    ("Port", Shape::Number),
]));
const LOCALITY: Shape = Shape::Object(&[("Region", Shape::Text), ("Zone", Shape::Text)]);

/// A service as health and node answers show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceView {
    /// What it is, if not an ordinary service.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub kind: Arc<str>,
    /// Its id.
    #[serde(rename = "ID")]
    pub id: Arc<str>,
    /// Its name.
    pub service: Arc<str>,
    /// Flat labels.
    pub tags: Vec<Arc<str>>,
    /// Where it is; the node's address if empty.
    pub address: Arc<str>,
    /// Where it is, by realm.
    pub tagged_addresses: BTreeMap<String, TaggedAddress>,
    /// Key-value labels.
    pub meta: BTreeMap<Arc<str>, Arc<str>>,
    /// Its port; 0 if it has none.
    pub port: u16,
    /// Its Unix socket.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub socket_path: Arc<str>,
    /// Its share of traffic.
    pub weights: Weights,
    /// Whether others may change its tags.
    pub enable_tag_override: bool,
    /// Settings of the mesh.
    pub proxy: Value,
    /// Settings of the mesh.
    pub connect: Value,
    /// Where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
    /// Never set: we have no peers.
    pub peer_name: &'static str,
    /// Its indexes.
    #[serde(flatten)]
    pub indexes: Indexes,
}

impl ServiceView {
    /// The settings of the mesh of a service that has none.
    #[must_use]
    pub fn no_proxy() -> Value {
        json!({ "Mode": "", "MeshGateway": {}, "Expose": {} })
    }

    /// What filters may select.
    pub const SHAPE: Shape = Shape::Object(Self::FIELDS);
    const FIELDS: &'static [(&'static str, Shape)] = &[
        ("Kind", Shape::Text),
        ("ID", Shape::Text),
        ("Service", Shape::Text),
        ("Tags", Shape::List(&Shape::Text)),
        ("Address", Shape::Text),
        ("TaggedAddresses", TAGGED),
        ("Meta", Shape::Map(&Shape::Text)),
        ("Port", Shape::Number),
        ("SocketPath", Shape::Text),
        ("Weights", WEIGHTS),
        ("EnableTagOverride", Shape::Truth),
        ("Proxy", PROXY),
        ("Connect", CONNECT),
        ("Locality", LOCALITY),
        ("PeerName", Shape::Text),
        ("CreateIndex", Shape::Number),
        ("ModifyIndex", Shape::Number),
        ("Datacenter", Shape::Text),
        ("ContentHash", Shape::Text),
    ];
}

/// A service as its agent shows it: without what it has not.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentServiceView {
    /// What it has everywhere.
    pub service: ServiceView,
    /// The datacenter.
    pub datacenter: Arc<str>,
    /// Changes with it; for single services only.
    pub content_hash: Option<String>,
}

impl Serialize for AgentServiceView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = serde_json::to_value(&self.service).map_err(S::Error::custom)?;
        let Value::Object(mut fields) = whole else {
            return Err(S::Error::custom("a service is an object"));
        };
        fields.retain(|name, value| match name.as_str() {
            "CreateIndex" | "ModifyIndex" | "PeerName" => false,
            "TaggedAddresses" | "Connect" => value.as_object().is_some_and(|map| !map.is_empty()),
            "Proxy" => *value != ServiceView::no_proxy(),
            _ => true,
        });
        fields.insert("Datacenter".to_owned(), Value::from(&*self.datacenter));
        if let Some(hash) = &self.content_hash {
            fields.insert("ContentHash".to_owned(), Value::from(hash.as_str()));
        }
        fields.serialize(serializer)
    }
}

/// A service's line in the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CatalogRow {
    /// The node's id.
    #[serde(rename = "ID")]
    pub id: Arc<str>,
    /// The node's name.
    pub node: Arc<str>,
    /// The node's address.
    pub address: Arc<str>,
    /// The datacenter.
    pub datacenter: Arc<str>,
    /// The node's addresses by realm.
    pub tagged_addresses: BTreeMap<Arc<str>, Arc<str>>,
    /// The node's labels.
    pub node_meta: BTreeMap<Arc<str>, Arc<str>>,
    /// What the service is, if not an ordinary one.
    pub service_kind: Arc<str>,
    /// The service's id.
    #[serde(rename = "ServiceID")]
    pub service_id: Arc<str>,
    /// The service's name.
    pub service_name: Arc<str>,
    /// Its tags.
    pub service_tags: Vec<Arc<str>>,
    /// Its address; the node's if empty.
    pub service_address: Arc<str>,
    /// Its addresses by realm.
    pub service_tagged_addresses: BTreeMap<String, TaggedAddress>,
    /// Its share of traffic.
    pub service_weights: Weights,
    /// Its labels.
    pub service_meta: BTreeMap<Arc<str>, Arc<str>>,
    /// Its port.
    pub service_port: u16,
    /// Its Unix socket.
    pub service_socket_path: Arc<str>,
    /// Whether others may change its tags.
    pub service_enable_tag_override: bool,
    /// Settings of the mesh.
    pub service_proxy: Value,
    /// Settings of the mesh.
    pub service_connect: Value,
    /// Its indexes.
    #[serde(flatten)]
    pub indexes: Indexes,
}

impl CatalogRow {
    /// What filters may select.
    pub const SHAPE: Shape = Shape::Object(&[
        ("ID", Shape::Text),
        ("Node", Shape::Text),
        ("Address", Shape::Text),
        ("Datacenter", Shape::Text),
        ("TaggedAddresses", Shape::Map(&Shape::Text)),
        ("NodeMeta", Shape::Map(&Shape::Text)),
        ("ServiceKind", Shape::Text),
        ("ServiceID", Shape::Text),
        ("ServiceName", Shape::Text),
        ("ServiceTags", Shape::List(&Shape::Text)),
        ("ServiceAddress", Shape::Text),
        ("ServiceTaggedAddresses", TAGGED),
        ("ServiceWeights", WEIGHTS),
        ("ServiceMeta", Shape::Map(&Shape::Text)),
        ("ServicePort", Shape::Number),
        ("ServiceSocketPath", Shape::Text),
        ("ServiceEnableTagOverride", Shape::Truth),
        ("ServiceProxy", PROXY),
        ("ServiceConnect", CONNECT),
        ("CreateIndex", Shape::Number),
        ("ModifyIndex", Shape::Number),
    ]);

    /// A service on a node.
    #[must_use]
    pub fn new(node: NodeView, service: ServiceView) -> Self {
        Self {
            id: node.id,
            node: node.node,
            address: node.address,
            datacenter: node.datacenter,
            tagged_addresses: node.tagged_addresses,
            node_meta: node.meta,
            service_kind: service.kind,
            service_id: service.id,
            service_name: service.service,
            service_tags: service.tags,
            service_address: service.address,
            service_tagged_addresses: service.tagged_addresses,
            service_weights: service.weights,
            service_meta: service.meta,
            service_port: service.port,
            service_socket_path: service.socket_path,
            service_enable_tag_override: service.enable_tag_override,
            service_proxy: service.proxy,
            service_connect: service.connect,
            indexes: service.indexes,
        }
    }
}

/// A service, its node and its checks: what most clients live on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthEntry {
    /// The node.
    pub node: NodeView,
    /// The service.
    pub service: ServiceView,
    /// Those of the node and of the service.
    pub checks: Vec<CheckView>,
}

impl HealthEntry {
    /// What filters may select.
    pub const SHAPE: Shape = Shape::Object(&[
        ("Node", NodeView::SHAPE),
        ("Service", ServiceView::SHAPE),
        ("Checks", Shape::List(&Shape::Object(CheckView::FIELDS))),
    ]);
}

/// A node and its services by id.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeServices {
    /// The node.
    pub node: NodeView,
    /// Its services.
    pub services: BTreeMap<Arc<str>, ServiceView>,
}
