//! Services and their slices as instances. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use portolan_model::Health;
use portolan_sources::frame::{Found, Unfit, address_of};
use serde_json::{Map, Value, json};

/// Fields of a Service and an endpoint of it that expressions can name.
pub(super) const NAMES: &[&str] = &[
    "namespace",
    "name",
    "labels",
    "annotations",
    "type",
    "endpoint",
    "ports",
    "pod",
];

const VERSION_LABELS: [&str; 2] = ["app.kubernetes.io/version", "version"];
/// The label by which a slice names its Service.
pub(super) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Text at a place of an object; empty if there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Where an endpoint is between coming and going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Gets traffic.
    Ready,
    /// On its way out, but answers.
    Serving,
    /// On its way out, and does not.
    Ending,
    /// Not yet, or not any more.
    NotReady,
}

/// An endpoint of one slice.
#[derive(Clone, Copy, Debug)]
struct Endpoint<'a> {
    told: &'a Value,
    slice: &'a Value,
    address: IpAddr,
    phase: Phase,
}

impl<'a> Endpoint<'a> {
    fn of(service: &Value, slice: &'a Value, endpoint: &'a Value) -> Option<Self> {
        let condition = |name: &str| endpoint.pointer("/conditions")?.get(name)?.as_bool();
        let publishes = service
            .pointer("/spec/publishNotReadyAddresses")
            .and_then(Value::as_bool);
        let terminating = condition("terminating").unwrap_or(false);
        let ready = condition("ready").unwrap_or(true);
        let serving = condition("serving").unwrap_or(ready);
        let phase = match (publishes.unwrap_or(false) || ready, terminating, serving) {
            (true, false, _) => Phase::Ready,
            (_, true, true) => Phase::Serving,
            (_, true, false) => Phase::Ending,
            (false, false, _) => Phase::NotReady,
        };
        Some(Self {
            told: endpoint,
            slice,
            // All addresses of an endpoint are alike, and the first is the one to use.
            address: list(endpoint, "/addresses")
                .next()?
                .as_str()
                .and_then(address_of)?,
            phase,
        })
    }

    fn pod(self) -> Option<&'a str> {
        let name = text(self.told, "/targetRef/name");
        (text(self.told, "/targetRef/kind") == "Pod" && !name.is_empty()).then_some(name)
    }

    fn id(self) -> String {
        let host = text(self.told, "/hostname");
        match self.pod() {
            Some(name) => name.to_owned(),
            None if host.is_empty() => self.address.to_string(),
            None => host.to_owned(),
        }
    }

    /// The ports of its slice, in the order of the Service's.
    fn ports(self, service: &Value) -> Vec<(String, u16)> {
        let name_of = |port: &Value| {
            port.get("name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let is_tcp = |port: &Value| matches!(text(port, "/protocol"), "" | "TCP");
        let order: Vec<_> = list(service, "/spec/ports").map(name_of).collect();
        let ports = list(self.slice, "/ports")
            .filter(|port| is_tcp(port))
            .filter_map(|port| {
                let number = port
                    .get("port")?
                    .as_u64()
                    .and_then(|number| u16::try_from(number).ok())?;
                Some((name_of(port), number)).filter(|_| number > 0)
            });
        let mut ports: Vec<_> = ports.collect();
        ports.sort_by_key(|(name, _)| {
            order
                .iter()
                .position(|known| known == name)
                .unwrap_or(usize::MAX)
        });
        ports
    }

    fn metadata(self, service: &Value, pod: Option<&Value>) -> BTreeMap<String, String> {
        let labels = pod
            .unwrap_or(service)
            .pointer("/metadata/labels")
            .and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        let labels =
            labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        let mut metadata: BTreeMap<_, _> = labels.collect();
        let hints: Vec<_> = list(self.told, "/hints/forZones")
            .map(|zone| text(zone, "/name"))
            .collect();
        let protocol = list(self.slice, "/ports").map(|port| text(port, "/appProtocol"));
        let own = [
            ("hostname", text(self.told, "/hostname").to_owned()),
            ("pod", self.pod().unwrap_or_default().to_owned()),
            ("node", text(self.told, "/nodeName").to_owned()),
            ("hints", hints.join(",")),
            (
                "app_protocol",
                protocol
                    .into_iter()
                    .find(|text| !text.is_empty())
                    .unwrap_or_default()
                    .to_owned(),
            ),
        ];
        metadata.extend(
            own.into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(key, value)| (key.to_owned(), value)),
        );
        metadata
    }

    fn found(self, service: &Value, pod: Option<&Value>, anyone_ready: bool) -> Found {
        let (health, note, leaving) = match self.phase {
            Phase::Ready => (Health::Passing, None, false),
            Phase::Serving if anyone_ready => (Health::Passing, Some("terminating"), true),
            Phase::Serving => (
                Health::Warning,
                Some("terminating, and nobody else is ready"),
                false,
            ),
            Phase::Ending => (Health::Critical, Some("terminating"), true),
            Phase::NotReady => (Health::Critical, Some("not ready"), false),
        };
        let version = |object: &Value| {
            let labels = object.pointer("/metadata/labels")?;
            let found = VERSION_LABELS
                .iter()
                .find_map(|label| labels.get(label)?.as_str());
            found.map(str::to_owned)
        };
        Found {
            service: text(service, "/metadata/name").to_owned(),
            namespace: Some(text(service, "/metadata/namespace").to_owned()),
            id: self.id(),
            address: Some(self.address),
            ports: self.ports(service),
            zone: Some(text(self.told, "/zone").to_owned()).filter(|zone| !zone.is_empty()),
            version: pod.and_then(version).or_else(|| version(service)),
            weight: None,
            health,
            note: note.map(str::to_owned),
            out_of_service: false,
            leaving,
            tags: Vec::new(),
            metadata: self.metadata(service, pod),
        }
    }

    fn object(self, service: &Value, pod: Option<&Value>) -> Map<String, Value> {
        let part = |object: &Value, pointer: &str, or: Value| {
            object.pointer(pointer).cloned().unwrap_or(or)
        };
        let values = [
            json!(text(service, "/metadata/namespace")),
            json!(text(service, "/metadata/name")),
            part(service, "/metadata/labels", json!({})),
            part(service, "/metadata/annotations", json!({})),
            json!(text(service, "/spec/type")),
            self.told.clone(),
            part(self.slice, "/ports", json!([])),
            pod.map_or_else(|| json!({}), |pod| part(pod, "/metadata", json!({}))),
        ];
        NAMES
            .iter()
            .map(|name| (*name).to_owned())
            .zip(values)
            .collect()
    }
}

/// An endpoint, and what expressions are asked about it.
pub(super) type Candidate = (Found, Map<String, Value>);

/// What a Service comes to: instances, and what has to be passed over, by its name.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) found: Vec<Candidate>,
    pub(super) unfit: Vec<(String, Unfit)>,
}

/// Reads all slices of a Service as one. `pod` finds the pod of that name.
pub(super) fn read<'a>(
    service: &Value,
    slices: impl Iterator<Item = &'a Value>,
    pod: impl Fn(&str) -> Option<&'a Value>,
    with_objects: bool,
) -> Reading {
    let mut reading = Reading::default();
    if text(service, "/spec/type") == "ExternalName" {
        let host = text(service, "/spec/externalName");
        let why = format!("it stands for the host name `{host}`, which is for a `dns` source");
        reading.unfit.push((String::new(), Unfit::Because(why)));
        return reading;
    }
    let family = list(service, "/spec/ipFamilies")
        .next()
        .and_then(Value::as_str)
        .unwrap_or("IPv4");
    let mut chosen: BTreeMap<String, Endpoint<'_>> = BTreeMap::new();
    for slice in slices {
        if text(slice, "/addressType") == "FQDN" {
            let why =
                Unfit::Because("it holds host names, which are for a `dns` source".to_owned());
            reading
                .unfit
                .push((format!("slice {}", text(slice, "/metadata/name")), why));
            continue;
        }
        for endpoint in list(slice, "/endpoints") {
            let Some(endpoint) = Endpoint::of(service, slice, endpoint) else {
                reading.unfit.push((
                    format!("slice {}", text(slice, "/metadata/name")),
                    Unfit::NoAddress,
                ));
                continue;
            };
            let rank = |endpoint: &Endpoint<'_>| {
                (
                    text(endpoint.slice, "/addressType") != family,
                    endpoint.phase,
                )
            };
            let id = endpoint.id();
            let is_better = chosen
                .get(&id)
                .is_none_or(|known| rank(&endpoint) < rank(known));
            if is_better {
                chosen.insert(id, endpoint);
            }
        }
    }
    let anyone_ready = chosen
        .values()
        .any(|endpoint| endpoint.phase == Phase::Ready);
    for endpoint in chosen.values() {
        let pod = endpoint.pod().and_then(&pod);
        let object = if with_objects {
            endpoint.object(service, pod)
        } else {
            Map::new()
        };
        reading
            .found
            .push((endpoint.found(service, pod, anyone_ready), object));
    }
    reading
}
