//! Endpoints of the directory as instances. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use portolan_sources::frame::{Found, address_of};

/// Fields of an endpoint that expressions can name.
pub(super) const NAMES: &[&str] = &[
    "namespace",
    "service",
    "id",
    "annotations",
    "service_annotations",
    "network",
];

/// A service as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listed {
    pub(super) namespace: String,
    pub(super) id: String,
    pub(super) annotations: Map<String, Value>,
}

/// The last part of a resource's name.
pub(super) fn id_of(object: &Value) -> Option<&str> {
    object
        .get("name")?
        .as_str()?
        .rsplit('/')
        .next()
        .filter(|id| !id.is_empty())
}

/// The annotations of a service or an endpoint; the first version of the API has another
/// word for them.
pub(super) fn annotations(object: &Value) -> Map<String, Value> {
    let found = object.get("annotations").or_else(|| object.get("metadata"));
    found
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

/// What the directory says about an endpoint.
pub(super) fn found(service: &Listed, endpoint: &Value) -> Found {
    let own = annotations(endpoint);
    let text = |name: &str| own.get(name).and_then(Value::as_str).map(str::to_owned);
    let port = endpoint
        .get("port")
        .and_then(Value::as_u64)
        .and_then(|port| u16::try_from(port).ok());
    let pairs = service.annotations.iter().chain(&own);
    let metadata: BTreeMap<_, _> = pairs
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    Found {
        service: service.id.clone(),
        namespace: Some(service.namespace.clone()),
        id: id_of(endpoint).unwrap_or_default().to_owned(),
        address: endpoint
            .get("address")
            .and_then(Value::as_str)
            .and_then(address_of),
        ports: port.map(|port| (String::new(), port)).into_iter().collect(),
        zone: text("zone"),
        version: text("version"),
        weight: text("weight").and_then(|text| text.trim().parse().ok()),
        metadata,
        ..Found::default()
    }
}

/// What expressions are asked about.
pub(super) fn object(service: &Listed, endpoint: &Value) -> Map<String, Value> {
    let values = [
        json!(service.namespace),
        json!(service.id),
        json!(id_of(endpoint)),
        Value::Object(annotations(endpoint)),
        Value::Object(service.annotations.clone()),
        endpoint.get("network").cloned().unwrap_or_default(),
    ];
    NAMES
        .iter()
        .map(|name| (*name).to_owned())
        .zip(values)
        .collect()
}
