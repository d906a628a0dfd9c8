//! Entries of Consul as instances of ours. Pure.

use std::collections::{BTreeMap, BTreeSet};

use portolan_model::{Health, SourceId};
use serde_json::{Map, Value};

use super::{
    settings::Settings,
    shape::{Check, Entry},
};
use portolan_sources::frame::{Found, Provenance, View, address_of};

/// What weight 1 is in the model, where 100 is normal.
const WEIGHT_SCALE: i64 = 100;
/// What is told of a failing check, in characters.
const NOTE_CHARS_MAX: usize = 300;
/// Metadata that name more ports begin so.
const PORT_KEY: &str = "port-";

/// The entries of one service, in one datacenter.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entries {
    /// The service is known by this name here, whatever the entries say.
    pub(super) name: Option<String>,
    /// The datacenter that was asked, if several are.
    pub(super) datacenter: Option<String>,
    pub(super) list: Vec<Value>,
    pub(super) provenance: Provenance,
}

impl Entries {
    /// Adds what the entries are to a view.
    pub(super) fn add(&self, settings: &Settings, source: &SourceId, view: &mut View) {
        let read: Vec<(Option<Entry>, &Value)> = self
            .list
            .iter()
            .map(|value| (serde_json::from_value(value.clone()).ok(), value))
            .collect();
        let twice = twice(read.iter().filter_map(|(entry, _)| entry.as_ref()));
        for (entry, value) in &read {
            let Some(entry) = entry else {
                let name = self.name.as_deref().unwrap_or("a service");
                view.pass_over_for(name, "an entry has another shape than Consul's");
                continue;
            };
            if is_mesh(entry) || !has_tags(entry, &settings.tags) {
                continue;
            }
            let mut found = self.found(entry, &twice);
            if !self.provenance.admit(&mut found) {
                continue;
            }
            let made = settings.basics.instance(source, found, || object(value));
            view.take(&described(entry), made);
        }
    }

    fn found(&self, entry: &Entry, twice: &BTreeSet<&str>) -> Found {
        let Entry {
            node,
            service,
            checks,
        } = entry;
        let health = health(checks);
        let mut metadata = service.meta.clone();
        for tag in &service.tags {
            if let Some((key, value)) = tag.split_once('=').filter(|(key, _)| !key.is_empty()) {
                metadata
                    .entry(key.to_owned())
                    .or_insert_with(|| value.to_owned());
            }
        }
        if let Some(datacenter) = &self.datacenter {
            metadata.insert("dc".to_owned(), datacenter.clone());
        }
        let locality = service.locality.as_ref().or(node.locality.as_ref());
        let zone = metadata.get("zone").cloned();
        let weights = service.weights.map(|weights| match health {
            Health::Warning => weights.warning,
            Health::Passing | Health::Starting | Health::Critical => weights.passing,
        });
        let weight = weights.map(|weight| weight.saturating_mul(WEIGHT_SCALE).max(0));
        let is_out = checks.iter().any(is_maintenance);
        Found {
            service: self.name.clone().unwrap_or_else(|| service.name.clone()),
            id: self.id(entry, twice),
            address: address(entry),
            ports: ports(service.port, &metadata),
            zone: zone.or_else(|| locality.map(|locality| locality.zone.clone())),
            version: metadata.get("version").cloned(),
            weight: weight.map(|weight| u16::try_from(weight).unwrap_or(u16::MAX)),
            health,
            note: note(checks),
            out_of_service: is_out,
            leaving: checks
                .iter()
                .any(|check| check.id.starts_with("portolan:leaving:")),
            tags: service.tags.clone(),
            metadata,
            ..Found::default()
        }
    }

    /// Ids are unique on a node only; a Portolan's are unique in the service.
    fn id(&self, entry: &Entry, twice: &BTreeSet<&str>) -> String {
        let (id, node) = (&entry.service.id, &entry.node.name);
        if self.provenance.server().is_some() && !twice.contains(id.as_str()) {
            return id.clone();
        }
        match &self.datacenter {
            Some(datacenter) => format!("{id}@{node}.{datacenter}"),
            None => format!("{id}@{node}"),
        }
    }
}

/// Ids that several entries have.
fn twice<'a>(entries: impl Iterator<Item = &'a Entry>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let ids = entries.map(|entry| entry.service.id.as_str());
    ids.filter(|id| !seen.insert(*id)).collect()
}

/// What an operator is told about an entry that can't be used.
fn described(entry: &Entry) -> String {
    let service = &entry.service;
    let home = address_text(entry);
    if address_of(home).is_none() && !home.is_empty() {
        let (name, id) = (&service.name, &service.id);
        return format!("{name}/{id}, whose address is the host name `{home}`");
    }
    format!("{}/{}", service.name, service.id)
}

fn address_text(entry: &Entry) -> &str {
    match entry.service.address.as_str() {
        "" => &entry.node.address,
        address => address,
    }
}

fn address(entry: &Entry) -> Option<std::net::IpAddr> {
    address_of(address_text(entry))
}

fn ports(port: i64, metadata: &BTreeMap<String, String>) -> Vec<(String, u16)> {
    let first = u16::try_from(port).unwrap_or_default();
    let more = metadata.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix(PORT_KEY).filter(|name| !name.is_empty())?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    std::iter::once((String::new(), first))
        .chain(more)
        .collect()
}

fn is_mesh(entry: &Entry) -> bool {
    !matches!(entry.service.kind.as_str(), "" | "typical")
}

fn has_tags(entry: &Entry, wanted: &[String]) -> bool {
    let given = &entry.service.tags;
    wanted
        .iter()
        .all(|wanted| given.iter().any(|tag| tag.eq_ignore_ascii_case(wanted)))
}

/// Whether it is no check but an operator's word.
fn is_maintenance(check: &Check) -> bool {
    check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance")
}

/// Checks that say how the instance is.
fn telling(checks: &[Check]) -> impl Iterator<Item = (&Check, Health)> {
    let leaves = |check: &Check| check.id.starts_with("portolan:leaving:");
    let telling = checks
        .iter()
        .filter(move |check| !is_maintenance(check) && !leaves(check));
    telling.map(|check| {
        let health = match check.status.as_str() {
            "passing" => Health::Passing,
            "warning" => Health::Warning,
            _ => Health::Critical,
        };
        (check, health)
    })
}

/// The worst of all checks.
fn health(checks: &[Check]) -> Health {
    let states = telling(checks).map(|(_, health)| health);
    states
        .max_by_key(|health| health.severity())
        .unwrap_or(Health::Passing)
}

/// Why it is not passing, in the words of its worst check.
fn note(checks: &[Check]) -> Option<String> {
    let (worst, _) = telling(checks)
        .filter(|(_, health)| *health != Health::Passing)
        .max_by_key(|(_, health)| health.severity())?;
    let words = [&worst.output, &worst.notes, &worst.name, &worst.id];
    let words = words.into_iter().find(|words| !words.is_empty())?;
    Some(words.trim().chars().take(NOTE_CHARS_MAX).collect())
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
