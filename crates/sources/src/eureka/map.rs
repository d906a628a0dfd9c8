//! Instances of Eureka as ours. Pure.

use portolan_dialects::eureka::{InstanceInfo, Port, Status, describe};
use portolan_model::{Health, SourceId};
use serde_json::{Map, Value, json};

use crate::frame::{Found, address_of};

/// What expressions may speak of.
pub(super) const NAMES: &[&str] = &[
    "app",
    "instanceId",
    "hostName",
    "ipAddr",
    "status",
    "overriddenStatus",
    "port",
    "securePort",
    "vipAddress",
    "secureVipAddress",
    "zone",
    "metadata",
];
/// The port with TLS.
const SECURE: &str = "secure";
/// The data centre whose metadata name the zone, and where.
const AMAZON: (&str, &str) = ("Amazon", "availability-zone");

/// What the instance is in words of ours.
pub(super) fn found(info: &InstanceInfo, source: &SourceId) -> Found {
    let address = address_of(&info.ip_addr).or_else(|| address_of(&info.host_name));
    let numbers = [("", info.port), (SECURE, info.secure_port)];
    let mut ports: Vec<_> = numbers
        .iter()
        .filter(|(_, port)| open(*port).is_some())
        .map(|(name, port)| ((*name).to_owned(), port.number))
        .collect();
    if ports.is_empty() {
        // Some turn the only port off and are called at it nevertheless.
        let numbered = numbers.iter().find(|(_, port)| port.number > 0);
        ports.extend(numbered.map(|(name, port)| ((*name).to_owned(), port.number)));
    }
    // An override is in the status already, unless the instance itself says worse.
    let is_out = [info.status, info.overridden].contains(&Status::OutOfService);
    let health = match info.status {
        Status::Up | Status::OutOfService => Health::Passing,
        Status::Starting => Health::Starting,
        Status::Down | Status::Unknown => Health::Critical,
    };
    let note = (info.status != Status::Up).then(|| format!("{} in Eureka", info.status.as_str()));
    Found {
        service: info.app.to_ascii_lowercase(),
        id: info.id().to_owned(),
        address,
        ports,
        zone: zone(info).map(str::to_owned),
        version: info.metadata.get("version").map(|text| (**text).to_owned()),
        health,
        note,
        out_of_service: is_out,
        metadata: metadata(info, source),
        ..Found::default()
    }
}

/// Its labels, and what only Eureka knows of it, so that clients of our Eureka get it back.
fn metadata(info: &InstanceInfo, source: &SourceId) -> std::collections::BTreeMap<String, String> {
    let described = describe(info, source).map(|described| described.instance.metadata);
    // What is too long for that has its labels at least.
    let metadata = described.unwrap_or_else(|_| info.metadata.clone());
    let pairs = metadata.iter();
    pairs
        .map(|(key, value)| ((**key).to_owned(), (**value).to_owned()))
        .collect()
}

fn zone(info: &InstanceInfo) -> Option<&str> {
    let (amazon, key) = AMAZON;
    let own = info.metadata.get("zone");
    let machine = info.data_center.metadata.get(key);
    let zone = own.or_else(|| machine.filter(|_| &*info.data_center.name == amazon));
    zone.map(|zone| &**zone)
}

fn open(port: Port) -> Option<u16> {
    (port.is_enabled && port.number > 0).then_some(port.number)
}

/// What an operator is told about one that can't be used.
pub(super) fn described(info: &InstanceInfo) -> String {
    let name = format!("{}/{}", info.app, info.id());
    let has_address = [&info.ip_addr, &info.host_name]
        .into_iter()
        .any(|text| address_of(text).is_some());
    if has_address {
        return name;
    }
    format!("{name}, whose address is `{}`", info.ip_addr)
}

/// What expressions are asked about.
pub(super) fn object(info: &InstanceInfo) -> Map<String, Value> {
    let values = [
        json!(info.app),
        json!(info.id()),
        json!(info.host_name),
        json!(info.ip_addr),
        json!(info.status.as_str()),
        json!(info.overridden.as_str()),
        json!(open(info.port)),
        json!(open(info.secure_port)),
        json!(info.vip_address),
        json!(info.secure_vip_address),
        json!(zone(info)),
        json!(info.metadata),
    ];
    let names = NAMES.iter().map(|name| (*name).to_owned());
    // What is not there is absent rather than null, as expressions have it.
    names
        .zip(values)
        .filter(|(_, value)| !value.is_null())
        .collect()
}
