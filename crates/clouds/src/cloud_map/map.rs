//! Instances of Cloud Map as ours. Pure.

use portolan_model::Health;
use serde_json::{Map, Value, json};

use portolan_sources::frame::{Found, address_of};

/// Fields of an instance that expressions can name.
pub(super) const NAMES: &[&str] = &["namespace", "service", "id", "health", "attributes"];

/// Attributes that AWS gives a meaning.
const OWN: &str = "AWS_";

/// A service, as Cloud Map names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServiceName {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// What Cloud Map says about an instance.
pub(super) fn found(service: &ServiceName, instance: &Value) -> Found {
    let text = |pointer: &str| instance.pointer(pointer).and_then(Value::as_str);
    let attribute = |name: &str| {
        instance
            .get("Attributes")?
            .get(name)?
            .as_str()
            .filter(|text| !text.is_empty())
    };
    let address = ["AWS_INSTANCE_IPV4", "AWS_INSTANCE_IPV6"];
    let address = address
        .into_iter()
        .find_map(|name| attribute(name).and_then(address_of));
    let port = attribute("AWS_INSTANCE_PORT").and_then(|text| text.trim().parse().ok());
    let attributes = instance
        .get("Attributes")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let attributes = attributes.filter(|(name, _)| !name.starts_with(OWN));
    let metadata =
        attributes.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    Found {
        service: service.name.clone(),
        namespace: Some(service.namespace.clone()),
        id: text("/InstanceId").unwrap_or_default().to_owned(),
        address,
        ports: port.map(|port| (String::new(), port)).into_iter().collect(),
        zone: attribute("AVAILABILITY_ZONE").map(str::to_owned),
        version: attribute("version").map(str::to_owned),
        weight: attribute("weight").and_then(|text| text.trim().parse().ok()),
        health: if text("/HealthStatus") == Some("UNHEALTHY") {
            Health::Critical
        } else {
            Health::Passing
        },
        metadata: metadata.collect(),
        ..Found::default()
    }
}

/// What expressions are asked about.
pub(super) fn object(service: &ServiceName, instance: &Value) -> Map<String, Value> {
    let part = |name: &str| instance.get(name).cloned().unwrap_or(Value::Null);
    let values = [
        json!(service.namespace),
        json!(service.name),
        part("InstanceId"),
        part("HealthStatus"),
        instance
            .get("Attributes")
            .cloned()
            .unwrap_or_else(|| json!({})),
    ];
    NAMES
        .iter()
        .map(|name| (*name).to_owned())
        .zip(values)
        .collect()
}
