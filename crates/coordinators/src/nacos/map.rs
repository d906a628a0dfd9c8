//! Services and hosts of Nacos as instances.

use std::collections::BTreeMap;

use portolan_model::{Health, ServiceKey, SourceId};
use portolan_sources::frame::{Basics, Found, Unfit, address_of, foreign_name};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    held::Made,
    labels::{labels, port_of, speak},
};

/// What expressions may speak of.
pub(super) const NAMES: &[&str] = &["namespace", "group", "service", "host"];
/// The namespace that is there always.
const PUBLIC: &str = "public";
/// The group of those that name none.
const DEFAULT_GROUP: &str = "DEFAULT_GROUP";
/// The cluster of those that name none.
const DEFAULT_CLUSTER: &str = "DEFAULT";
/// What is said of instances that Nacos may know to be sick.
const PROTECTED: &str = "nacos: the protection threshold is reached, so it may be sick";

/// A service of Nacos.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Service {
    pub(super) namespace: String,
    pub(super) group: String,
    pub(super) name: String,
}

/// What Nacos says of a service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ServiceInfo {
    pub(super) name: Option<String>,
    pub(super) group_name: Option<String>,
    pub(super) hosts: Option<Vec<Value>>,
    pub(super) reach_protection_threshold: bool,
}

impl Service {
    /// What its entries' paths begin with.
    pub(super) fn path(&self) -> String {
        format!("{}/{}/{}/", self.namespace, self.group, self.name)
    }

    /// Its place in the catalogue, if its name can be one.
    pub(super) fn key(&self, basics: &Basics) -> Option<ServiceKey> {
        let key = basics.service(&self.name)?;
        let namespace = match self.scope(basics) {
            Some(scope) => foreign_name(&scope).ok()?,
            None => key.namespace,
        };
        Some(ServiceKey { namespace, ..key })
    }

    /// The scope that it brings, if it is not the settings' own.
    fn scope(&self, basics: &Basics) -> Option<String> {
        let is_public = self.namespace == PUBLIC;
        let base = if is_public {
            basics.namespace.as_str()
        } else {
            &self.namespace
        };
        if self.group == DEFAULT_GROUP {
            return (!is_public).then(|| base.to_owned());
        }
        Some(format!("{base}.{}", self.group))
    }
}

/// The instances of a service, by their path.
pub(super) fn read(
    basics: &Basics,
    source: &SourceId,
    service: &Service,
    info: &ServiceInfo,
) -> BTreeMap<String, Made> {
    let hosts = info.hosts.iter().flatten();
    let made = hosts.map(|host| {
        let id = id_of(host);
        let path = format!("{}{id}", service.path());
        let is_protected = info.reach_protection_threshold;
        let found = found(basics, service, (id, host), is_protected);
        let object = || object(service, host);
        let made = found.and_then(|found| basics.instance(source, found, object));
        (path, made)
    });
    made.collect()
}

fn found(
    basics: &Basics,
    service: &Service,
    (id, host): (String, &Value),
    is_protected: bool,
) -> Result<Found, Unfit> {
    let flag =
        |name: &str, default: bool| host.get(name).and_then(Value::as_bool).unwrap_or(default);
    let ip = host.get("ip").and_then(Value::as_str);
    let port = host.get("port").and_then(port_of).unwrap_or(0);
    if !host.is_object() {
        return Err(Unfit::Because("it is no instance".to_owned()));
    }
    let mut metadata = host.get("metadata").map(labels).unwrap_or_default();
    for (ours, theirs) in [("cluster", "clusterName"), ("ephemeral", "ephemeral")] {
        let text = host.get(theirs).and_then(crate::labels::text_of);
        if let Some(text) = text {
            metadata.entry(ours.to_owned()).or_insert(text);
        }
    }
    let weight = host.get("weight").and_then(Value::as_f64).map(share);
    let mut found = Found {
        service: service.name.clone(),
        namespace: service.scope(basics),
        id,
        address: ip.and_then(address_of),
        ports: vec![(String::new(), port)],
        weight: weight.or(Some(100)),
        health: if flag("healthy", true) {
            Health::Passing
        } else {
            Health::Critical
        },
        note: is_protected.then(|| PROTECTED.to_owned()),
        out_of_service: !flag("enabled", true),
        metadata,
        ..Found::default()
    };
    speak(&mut found);
    Ok(found)
}

/// A weight of 1.0 is 100. What is more than none stays more than none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is between the bounds of the type"
)]
fn share(weight: f64) -> u16 {
    if weight.is_nan() || weight <= 0.0 {
        return 0;
    }
    (weight * 100.0).round().clamp(1.0, f64::from(u16::MAX)) as u16
}

/// What Nacos itself tells instances apart by.
fn id_of(host: &Value) -> String {
    let text = |name: &str| host.get(name).and_then(Value::as_str).unwrap_or_default();
    let port = host.get("port").and_then(port_of).unwrap_or(0);
    let ip = text("ip");
    match text("clusterName") {
        "" | DEFAULT_CLUSTER => format!("{ip}:{port}"),
        cluster => format!("{ip}:{port}~{cluster}"),
    }
}

fn object(service: &Service, host: &Value) -> Map<String, Value> {
    let fields = [
        ("namespace", json!(service.namespace)),
        ("group", json!(service.group)),
        ("service", json!(service.name)),
        ("host", host.clone()),
    ];
    Map::from_iter(fields.map(|(name, value)| (name.to_owned(), value)))
}
