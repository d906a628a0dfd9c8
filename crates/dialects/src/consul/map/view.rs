//! Instances as clients of Consul see them.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use portolan_model::{Guard, Health, Instance, Override, Weight};
use serde_json::{Map, Value, json};

use super::{Record, probe_id, record::plain};
use crate::consul::{
    CheckDefinition, NodeDefinition, ServiceDefinition, Weights,
    answer::{CheckView, Indexes, NodeView, ServiceView},
    write_duration,
};

/// Where the agent's own services are.
#[derive(Clone, Debug, PartialEq)]
pub struct Home {
    /// The agent's node.
    pub node: NodeDefinition,
    /// The datacenter.
    pub datacenter: Arc<str>,
}

/// A node and when it changed.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSeen<'n> {
    /// The node.
    pub node: &'n NodeDefinition,
    /// The index of its last change.
    pub index: u64,
}

/// Where and when a check is seen.
#[derive(Clone, Copy)]
struct At<'a> {
    node: &'a Arc<str>,
    index: u64,
}

impl Home {
    /// A node as clients see it.
    #[must_use]
    pub fn view(&self, seen: &NodeSeen<'_>) -> NodeView {
        let node = seen.node;
        let mut tagged_addresses: BTreeMap<Arc<str>, Arc<str>> = node
            .tagged_addresses
            .iter()
            .map(|(realm, address)| (realm.as_str().into(), address.as_str().into()))
            .collect();
        let address: Arc<str> = node.address.as_str().into();
        let family = match node.address.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => "ipv6",
            Ok(IpAddr::V4(_)) | Err(_) => "ipv4",
        };
        for realm in ["lan", "wan"] {
            let of_family = format!("{realm}_{family}");
            for realm in [realm, &of_family] {
                tagged_addresses
                    .entry(realm.into())
                    .or_insert_with(|| Arc::clone(&address));
            }
        }
        NodeView {
            id: node.id.as_str().into(),
            node: node.name.as_str().into(),
            address,
            datacenter: Arc::clone(&self.datacenter),
            tagged_addresses,
            meta: node.meta.clone(),
            indexes: Indexes::at(seen.index),
        }
    }
}

/// What was found by a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The id of its probe.
    pub id: Arc<str>,
    /// What it is.
    pub health: Health,
    /// What was said last.
    pub output: Arc<str>,
}

/// An instance in Consul's words.
#[derive(Clone, Debug)]
pub struct Registered {
    /// What was registered, or would have been.
    pub record: Arc<Record>,
    /// Whether it was registered through Consul.
    pub is_ours: bool,
    instance: Arc<Instance>,
    found: Vec<Found>,
}

impl Registered {
    /// Reads an instance.
    #[must_use]
    pub fn of(instance: &Arc<Instance>) -> Self {
        let record = Record::of(instance);
        Self {
            is_ours: record.is_some(),
            record: record.unwrap_or_else(|| foreign(instance)).into(),
            instance: Arc::clone(instance),
            found: Vec::new(),
        }
    }

    /// The same, with what its checks found.
    #[must_use]
    pub fn with(self, found: Vec<Found>) -> Self {
        Self { found, ..self }
    }

    /// The node; none stands for the agent's own.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.record.node.as_deref()
    }

    /// The instance.
    #[must_use]
    pub const fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// The service as clients see it. `home` is the address of its node.
    #[must_use]
    pub fn service(&self, home: &str, index: u64) -> ServiceView {
        let service = &self.record.service;
        ServiceView {
            kind: service.kind.as_str().into(),
            id: service.id.as_str().into(),
            service: service.name.as_str().into(),
            tags: service.tags.clone(),
            address: self.address(home),
            tagged_addresses: service.tagged_addresses.clone(),
            meta: service.meta.clone(),
            port: service.port,
            socket_path: service.socket_path.as_str().into(),
            weights: service.weights,
            enable_tag_override: service.enable_tag_override,
            proxy: service.proxy.clone().unwrap_or_else(ServiceView::no_proxy),
            connect: service.connect.clone().unwrap_or_else(|| json!({})),
            locality: service.locality.clone(),
            peer_name: "",
            indexes: Indexes::at(index),
        }
    }

    /// As registered; but where nothing was said and the node is elsewhere, the address
    /// that it registered from.
    fn address(&self, home: &str) -> Arc<str> {
        let Record { service, ip, .. } = &*self.record;
        let is_home = ip.is_loopback() || home.parse() == Ok(*ip);
        if service.address.is_empty() && !is_home {
            return ip.to_string().into();
        }
        service.address.as_str().into()
    }

    /// Its checks, those that its state adds included.
    #[must_use]
    pub fn checks(&self, node: &Arc<str>, index: u64) -> Vec<CheckView> {
        let at = At { node, index };
        let own = self.record.checks.iter();
        let mut checks: Vec<_> = own.map(|check| self.check(check, at)).collect();
        if self.record.is_node() {
            return checks;
        }
        let worst = Self::worst(&checks).severity();
        if !self.is_ours || self.instance.state.health.severity() > worst {
            checks.push(self.own_check(at));
        }
        checks.extend(self.axes(at));
        checks
    }

    /// The worst of its checks.
    #[must_use]
    pub fn worst(checks: &[CheckView]) -> Health {
        let states = checks.iter().map(|check| check.status);
        states
            .max_by_key(|health| health.severity())
            .unwrap_or(Health::Passing)
    }

    fn check(&self, check: &CheckDefinition, at: At<'_>) -> CheckView {
        let span = |span| Arc::from(Option::map(span, write_duration).unwrap_or_default());
        let id = probe_id(&check.id);
        let found = self.found.iter().find(|found| found.id == id);
        let (status, output) = match found {
            Some(found) => (found.health, Arc::clone(&found.output)),
            None if check.is_external() => (
                check.status.unwrap_or(Health::Critical),
                check.output.as_str().into(),
            ),
            // The prober has not come to it yet.
            None => (self.instance.state.health, "".into()),
        };
        CheckView {
            notes: check.notes.as_str().into(),
            output,
            kind: check.type_name(),
            interval: span(check.interval),
            timeout: span(check.timeout),
            ..self.blank(at, &check.id, &check.name, status)
        }
    }

    /// What is known of its health besides what its own checks say.
    fn own_check(&self, at: At<'_>) -> CheckView {
        let state = &self.instance.state;
        let service = &self.record.service;
        let id = if self.is_ours {
            format!("portolan:{}", service.id)
        } else {
            format!("service:{}", service.id)
        };
        let name = format!("Health of '{}'", service.name);
        let output: Arc<str> = match (&state.note, state.health) {
            (Some(why), _) => Arc::clone(why),
            (None, Health::Starting) => "starting".into(),
            (None, _) => "".into(),
        };
        CheckView {
            output,
            kind: "portolan",
            ..self.blank(at, &id, &name, state.health)
        }
    }

    /// What operators, the guard and a drain say about it.
    fn axes(&self, at: At<'_>) -> Vec<CheckView> {
        let mut checks = Vec::new();
        let state = &self.instance.state;
        let mut add = |id: String, name: &str, status: Health, notes: &str| {
            checks.push(CheckView {
                notes: notes.into(),
                kind: "maintenance",
                ..self.blank(at, &id, name, status)
            });
        };
        let id = &self.record.service.id;
        let ruling = state.ruling.as_ref();
        let reason = match (
            state.overridden,
            ruling.and_then(|ruling| ruling.reason.as_deref()),
        ) {
            (Override::None, _) => None,
            (Override::Drain | Override::Maintenance, Some(reason)) => Some(reason),
            (Override::Drain, None) => Some("drained by an operator"),
            (Override::Maintenance, None) => Some("taken out by an operator"),
        };
        if let Some(reason) = reason {
            let name = "Service Maintenance Mode";
            add(
                format!("_service_maintenance:{id}"),
                name,
                Health::Critical,
                reason,
            );
        }
        if state.leaving {
            add(
                format!("portolan:leaving:{id}"),
                "Leaving",
                Health::Critical,
                "it is being drained",
            );
        }
        match state.guard {
            Guard::None => {}
            Guard::Suspect => add(
                format!("portolan:suspect:{id}"),
                "Suspect",
                Health::Warning,
                "it fell silent, as too many others did; held by the guard",
            ),
            Guard::Flapping => add(
                format!("portolan:flapping:{id}"),
                "Flapping",
                Health::Warning,
                "it went down too often lately",
            ),
        }
        checks
    }

    fn blank(&self, at: At<'_>, id: &str, name: &str, status: Health) -> CheckView {
        let service = &self.record.service;
        CheckView {
            node: Arc::clone(at.node),
            id: id.into(),
            name: name.into(),
            status,
            notes: "".into(),
            output: "".into(),
            service_id: service.id.as_str().into(),
            service_name: service.name.as_str().into(),
            service_tags: service.tags.clone(),
            kind: "",
            interval: "".into(),
            timeout: "".into(),
            exposed_port: 0,
            definition: Map::new(),
            indexes: Indexes::at(at.index),
        }
    }
}

/// What would have been registered for an instance that came by another way.
fn foreign(instance: &Instance) -> Record {
    let first = instance.endpoints.first().map(|first| first.address);
    let ip = first.map_or(IpAddr::from([127, 0, 0, 1]), |first| first.ip());
    let mut meta = plain(&instance.metadata);
    for (key, value) in [("version", &instance.version), ("zone", &instance.zone)] {
        if let Some(value) = value {
            meta.entry(key.into()).or_insert_with(|| Arc::clone(value));
        }
    }
    for endpoint in instance.endpoints.iter().skip(1) {
        meta.entry(format!("port-{}", endpoint.name).into())
            .or_insert_with(|| endpoint.address.port().to_string().into());
    }
    let proxy: Option<Value> = None;
    Record {
        service: ServiceDefinition {
            id: instance.id.as_str().to_owned(),
            name: instance.key.name.as_str().to_owned(),
            tags: instance.tags.to_vec(),
            address: ip.to_string(),
            meta,
            port: first.map_or(0, |first| first.port()),
            proxy,
            weights: weights(instance.weight),
            ..ServiceDefinition::default()
        },
        node: None,
        ip,
        mirrored: Vec::new(),
        checks: Vec::new(),
    }
}

/// Consul counts from 1, the model from 100. What is between is rounded.
fn weights(weight: Weight) -> Weights {
    let rounded = weight.as_u16().saturating_add(50) / 100;
    Weights {
        passing: rounded.max(1),
        warning: 1,
    }
}
