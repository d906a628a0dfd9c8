//! What was registered through Consul, kept with the instance.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use portolan_model::{
    Health, Instance, InstanceId, Metadata, Name, NamedPort, ServiceKey, SourceId, State, Weight,
    route::Check,
};
use serde::{Deserialize, Serialize};

use super::{instance_id, node_key, probe_of, service_key};
use crate::{
    consul::{CheckDefinition, Refusal, ServiceDefinition, answer::status_name},
    native::{Described, is_own_label},
};

/// The metadata key of a record. Nobody but Consul's front can write it: keys of its clients
/// have no colon, and the other protocols refuse or leave out this one.
pub const RECORD_KEY: &str = "consul:record";
/// The name of an instance's only port.
const ONLY_PORT: &str = "default";
/// What weight 1 is in the model, where 100 is normal.
const WEIGHT_SCALE: u16 = 100;

/// A service as it was registered, with its checks; or a check of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The service. Its tags and labels stand in the instance and are put back from there.
    pub service: ServiceDefinition,
    /// The node, if it is not the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Where it is indeed: its address, that of its node, or that of whoever registered it.
    pub ip: IpAddr,
    /// Labels that only repeat a tag of the form `key=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrored: Vec<Arc<str>>,
    /// Its checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckDefinition>,
}

impl Record {
    /// A service that registers from `caller`, on another node than the agent's if one is
    /// named.
    #[must_use]
    pub fn new(mut service: ServiceDefinition, node: Option<(&str, &str)>, caller: IpAddr) -> Self {
        let at_node = node.and_then(|(_, address)| address.parse().ok());
        let ip = service.address.parse().ok().or(at_node);
        let checks = std::mem::take(&mut service.checks);
        let mut record = Self {
            ip: ip.unwrap_or_else(|| caller.to_canonical()),
            service,
            node: node.map(|(name, _)| name.to_owned()),
            mirrored: Vec::new(),
            checks: Vec::new(),
        };
        for check in checks {
            record.put_check(check);
        }
        record
    }

    /// A check of a node itself; none is the agent's own.
    #[must_use]
    pub fn of_node(node: Option<&str>, check: CheckDefinition) -> Self {
        let service = ServiceDefinition::default();
        let node = node.map(|node| (node, ""));
        let mut record = Self::new(service, node, IpAddr::V4(Ipv4Addr::LOCALHOST));
        record.put_check(check);
        record
    }

    /// Whether it is a check of a node rather than a service.
    #[must_use]
    pub const fn is_node(&self) -> bool {
        self.service.id.is_empty()
    }

    /// The same service registered anew: checks that are not named stay unless `replaces`.
    #[must_use]
    pub fn after(mut self, before: Self, replaces: bool) -> Self {
        let new = self.checks.len();
        for known in before.checks.into_iter().filter(|_| !replaces) {
            if !self
                .checks
                .iter()
                .take(new)
                .any(|check| check.id == known.id)
            {
                self.checks.push(known);
            }
        }
        self
    }

    /// The check of that id.
    #[must_use]
    pub fn check(&self, id: &str) -> Option<&CheckDefinition> {
        self.checks.iter().find(|check| check.id == id)
    }

    /// Adds a check, in place of one of the same id.
    pub fn put_check(&mut self, check: CheckDefinition) {
        self.checks.retain(|known| known.id != check.id);
        // Most have one, of hundreds of bytes, and are kept: no room for more of them.
        self.checks.reserve_exact(1);
        self.checks.push(check);
    }

    /// Where it listens, if it has a port.
    #[must_use]
    pub fn home(&self) -> Option<SocketAddr> {
        (self.service.port > 0).then(|| SocketAddr::new(self.ip, self.service.port))
    }

    /// The service that its instance is of.
    ///
    /// # Errors
    /// [`Refusal`]: 400 if the name is none.
    pub fn key(&self) -> Result<ServiceKey, Refusal> {
        if self.is_node() {
            node_key(self.node.as_deref())
        } else {
            service_key(&self.service.name)
        }
    }

    /// The id of its instance.
    ///
    /// # Errors
    /// [`Refusal`]: 400 if it is too long.
    pub fn id(&self) -> Result<InstanceId, Refusal> {
        match self.checks.first() {
            Some(check) if self.is_node() => instance_id(&check.id, None),
            Some(_) | None => instance_id(&self.service.id, self.node.as_deref()),
        }
    }

    /// What the prober is to do.
    ///
    /// # Errors
    /// [`Refusal`]: 400 for a check that can't be run, or too many.
    pub fn probes(&self) -> Result<Option<Check>, Refusal> {
        let probes = self.checks.iter().map(probe_of);
        let probes: Vec<_> = probes
            .filter_map(Result::transpose)
            .collect::<Result<_, _>>()?;
        if probes.is_empty() {
            return Ok(None);
        }
        let check = Check::new(probes);
        check
            .map(Some)
            .map_err(|error| Refusal::bad(format!("Invalid check: {error}")))
    }

    /// What is said of its health by whoever runs its checks: the worst, and why. None if
    /// the prober runs them all.
    #[must_use]
    pub fn report(&self) -> Option<(Health, Option<Arc<str>>)> {
        let external = self.checks.iter().filter(|check| check.is_external());
        let status = |check: &CheckDefinition| check.status.unwrap_or(Health::Critical);
        let worst = external.max_by_key(|check| status(check).severity())?;
        let note = match (status(worst), worst.output.as_str()) {
            (Health::Passing, _) => None,
            (status, "") => Some(format!("check {} is {}", worst.id, status_name(status))),
            (_, output) => Some(output.to_owned()),
        };
        Some((status(worst), note.map(Arc::from)))
    }

    /// The instance in the words of the model.
    ///
    /// # Errors
    /// [`Refusal`]: 400 if the name or id is none, or a check can't be run.
    pub fn describe(&self, source: &SourceId) -> Result<Described, Refusal> {
        let mut record = self.clone();
        let mut metadata: Metadata = std::mem::take(&mut record.service.meta);
        record.mirrored = mirror(&record.service.tags, &mut metadata);
        let tags = std::mem::take(&mut record.service.tags);
        let text =
            serde_json::to_string(&record).map_err(|error| Refusal::failed(error.to_string()))?;
        metadata.insert(RECORD_KEY.into(), text.into());
        let port = Name::parse(ONLY_PORT).map_err(|error| Refusal::failed(error.to_string()))?;
        let endpoint = self.home().map(|address| NamedPort {
            name: port,
            address,
        });
        let zone = self.service.locality.as_ref().map(|place| &*place.zone);
        let report = self.report();
        let weight = self.service.weights.passing.saturating_mul(WEIGHT_SCALE);
        Ok(Described {
            instance: Instance {
                key: self.key()?,
                id: self.id()?,
                endpoints: endpoint.into_iter().collect(),
                zone: zone.filter(|zone| !zone.is_empty()).map(Arc::from),
                version: None,
                weight: Weight::new(weight).unwrap_or_default(),
                tags: tags.into(),
                metadata,
                source: source.clone(),
                state: State::default(),
            },
            ttl: None,
            check: self.probes()?,
            status: report.as_ref().map(|(health, _)| *health),
            note: report.and_then(|(_, note)| note),
        })
    }

    /// The record of an instance; none if it came by another way, or its record is damaged
    /// or of another instance: nobody is believed what he says of somebody else.
    #[must_use]
    pub fn of(instance: &Instance) -> Option<Self> {
        let text = instance.metadata.get(RECORD_KEY)?;
        let mut record: Self = serde_json::from_str(text).ok()?;
        let is_its_key = record.key().is_ok_and(|key| key == instance.key);
        if !is_its_key || record.id().ok().as_ref() != Some(&instance.id) {
            return None;
        }
        record.service.tags = instance.tags.to_vec();
        record.service.meta = plain(&instance.metadata);
        for key in &record.mirrored {
            record.service.meta.remove(key);
        }
        Some(record)
    }
}

/// The labels of an instance without those that are ours.
pub(super) fn plain(metadata: &Metadata) -> BTreeMap<Arc<str>, Arc<str>> {
    let pairs = metadata.iter();
    pairs
        .filter(|(key, _)| &***key != RECORD_KEY)
        .map(|(key, value)| (Arc::clone(key), Arc::clone(value)))
        .collect()
}

/// Makes labels of tags of the form `key=value`, and says which.
fn mirror(tags: &[Arc<str>], metadata: &mut Metadata) -> Vec<Arc<str>> {
    let mut mirrored = Vec::new();
    for tag in tags {
        if let Some((key, value)) = tag.split_once('=')
            && !key.is_empty()
            && !is_own_label(key)
            && !metadata.contains_key(key)
        {
            metadata.insert(key.into(), value.into());
            mirrored.push(key.into());
        }
    }
    mirrored
}
