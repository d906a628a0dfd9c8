//! What was registered through Consul, kept with the instance.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use portolan_model::{
    Health, Instance, Metadata, Name, NamedPort, SourceId, State, Weight, route::Check,
};
use serde::{Deserialize, Serialize};

use super::{Means, instance_id, probe_of, service_key};
use crate::{
    consul::{CheckDefinition, Refusal, ServiceDefinition, answer::status_name},
    native::Described,
};

/// The metadata key of a record. No client of Consul can write it: their keys have no colon.
pub const RECORD_KEY: &str = "consul:record";
/// The name of an instance's only port.
const ONLY_PORT: &str = "default";
/// What weight 1 is in the model, where 100 is normal.
const WEIGHT_SCALE: u16 = 100;

/// A service as it was registered, with the states of its checks.
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
    pub checks: Vec<Held>,
}

/// A check and what was heard of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The check.
    pub definition: CheckDefinition,
    /// Its state; where the prober finds it out, the instance's health says more.
    pub status: Health,
    /// What it said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

impl Held {
    /// A check of which nothing was heard yet.
    #[must_use]
    pub fn new(definition: CheckDefinition) -> Self {
        Self {
            status: definition.status.unwrap_or(Health::Critical),
            output: String::new(),
            definition,
        }
    }

    /// Takes in a state; what is over the limit of its output is left out. Whether
    /// anything changed.
    pub fn hear(&mut self, status: Health, output: &str) -> bool {
        let mut end = self.definition.output_bytes_max.min(output.len());
        while !output.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        let output = output.get(..end).unwrap_or_default();
        let is_news = self.status != status || self.output != output;
        self.status = status;
        output.clone_into(&mut self.output);
        is_news
    }
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
            checks: checks.into_iter().map(Held::new).collect(),
        };
        record.settle();
        record
    }

    /// Checks that nobody runs say so and are in nobody's way.
    pub fn settle(&mut self) {
        let (home, host) = (self.home(), self.service.address.clone());
        for held in &mut self.checks {
            if let Means::NotRun(reason) = probe_of(&held.definition, home, &host) {
                held.status = held.definition.status.unwrap_or(Health::Passing);
                held.output = format!("Not run by Portolan: {reason}");
            }
        }
    }

    /// The same service registered anew: what is known of checks that stay is kept, and
    /// those that are not named stay unless `replaces`.
    #[must_use]
    pub fn after(mut self, before: Self, replaces: bool) -> Self {
        for held in &mut self.checks {
            let id = &held.definition.id;
            let known = before
                .checks
                .iter()
                .find(|known| known.definition.id == *id);
            if let Some(known) = known
                && held.definition.status.is_none()
                && known.definition.kind == held.definition.kind
            {
                held.status = known.status;
                held.output.clone_from(&known.output);
            }
        }
        if !replaces {
            let new = self.checks.len();
            for known in before.checks {
                let is_named = |held: &Held| held.definition.id == known.definition.id;
                if !self.checks.iter().take(new).any(is_named) {
                    self.checks.push(known);
                }
            }
        }
        self.settle();
        self
    }

    /// The check of that id.
    pub fn check_mut(&mut self, id: &str) -> Option<&mut Held> {
        self.checks.iter_mut().find(|held| held.definition.id == id)
    }

    /// Where it listens, if it has a port.
    #[must_use]
    pub fn home(&self) -> Option<SocketAddr> {
        (self.service.port > 0).then(|| SocketAddr::new(self.ip, self.service.port))
    }

    /// The check that the prober runs: the first that it can.
    #[must_use]
    pub fn probed(&self) -> Option<(&Held, Check)> {
        let home = self.home();
        self.checks.iter().find_map(|held| {
            match probe_of(&held.definition, home, &self.service.address) {
                Means::Probe(check) => Some((held, check)),
                Means::Told | Means::NotRun(_) => None,
            }
        })
    }

    /// What the service says of its own health: the worst of what was heard, and why.
    /// None if nothing ever will be.
    #[must_use]
    pub fn report(&self) -> Option<(Health, Option<Arc<str>>)> {
        let worst = self.told().max_by_key(|held| held.status.severity())?;
        let note = match (worst.status, worst.output.as_str()) {
            (Health::Passing, _) => None,
            (status, "") => Some(format!(
                "check {} is {}",
                worst.definition.id,
                status_name(status)
            )),
            (_, output) => Some(output.to_owned()),
        };
        Some((worst.status, note.map(Arc::from)))
    }

    /// The checks that somebody tells the state of.
    pub(super) fn told(&self) -> impl Iterator<Item = &Held> {
        let (home, host) = (self.home(), &self.service.address);
        let checks = self.checks.iter();
        checks.filter(move |held| probe_of(&held.definition, home, host) == Means::Told)
    }

    /// The instance in the words of the model.
    ///
    /// # Errors
    /// [`Refusal`]: 400 if the name or id is none.
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
                key: service_key(&self.service.name)?,
                id: instance_id(&self.service.id, self.node.as_deref())?,
                endpoints: endpoint.into_iter().collect(),
                zone: zone.filter(|zone| !zone.is_empty()).map(Arc::from),
                version: None,
                weight: Weight::new(weight).unwrap_or_default(),
                tags,
                metadata,
                source: source.clone(),
                state: State::default(),
            },
            ttl: None,
            check: self.probed().map(|(_, check)| check),
            status: report.as_ref().map(|(health, _)| *health),
            note: report.and_then(|(_, note)| note),
        })
    }

    /// The record of an instance; none if it came by another way, or its record is damaged.
    #[must_use]
    pub fn of(instance: &Instance) -> Option<Self> {
        let text = instance.metadata.get(RECORD_KEY)?;
        let mut record: Self = serde_json::from_str(text).ok()?;
        record.service.tags.clone_from(&instance.tags);
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
            && key != RECORD_KEY
            && !metadata.contains_key(key)
        {
            metadata.insert(key.into(), value.into());
            mirrored.push(key.into());
        }
    }
    mirrored
}
