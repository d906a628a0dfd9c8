//! What an instance says about itself.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    sync::Arc,
    time::Duration,
};

use portolan_model::{
    Health, Instance, InstanceId, Name, NamedPort, Override, Ruling, ServiceKey, SourceId, State,
    Timestamp, Weight, route::Check,
};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    CheckShape, Misfit, Span,
    bounds::{check_keys, check_sizes, check_text},
};

/// Most named ports of an instance.
const PORTS_MAX: usize = 64;
/// The name of an instance's only port.
const ONLY_PORT: &str = "default";
/// The port that is used when nobody names one, if an instance has one of that name.
const USUAL_PORT: &str = "http";

/// The body of a registration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The instance's IP address; the caller's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The port of an instance that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// Further ports by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, NonZeroU16>,
    /// How long it may be silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// Key-value labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
    /// Flat labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Arc<str>>,
    /// Version of the software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Arc<str>>,
    /// Availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// Relative share of traffic; 100 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<NonZeroU16>,
    /// A health check that Portolan is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckShape>,
    /// Several health checks; the worst of what they find counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckShape>,
    /// Its health in its own words; `passing` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Health>,
    /// Why it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Arc<str>>,
}

/// The body of a heartbeat; may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Its health from now on; as before by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Health>,
    /// Why it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Arc<str>>,
}

/// The body of a change to what an instance said of itself; absent fields stay as they
/// are. It holds until the instance registers again. Source: RFC 7396.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// Key-value labels to set, or to take away by `null`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<Arc<str>, Option<Arc<str>>>,
    /// Flat labels, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<Arc<str>>>,
    /// Version of the software; `null` takes it away.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub version: Option<Option<Arc<str>>>,
    /// Availability zone; `null` takes it away.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub zone: Option<Option<Arc<str>>>,
    /// Relative share of traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<NonZeroU16>,
}

/// What an operator rules about an instance of any source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideShape {
    /// `drain`: no new requests, `maintenance`: out of service, `none`: by itself.
    #[serde(default, rename = "override")]
    pub traffic: Override,
    /// Its share of traffic, in place of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<NonZeroU16>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
}

/// Which of many instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Its service, without the namespace.
    pub service: Name,
    /// The service's namespace; `default` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// Its id.
    pub id: InstanceId,
}

impl Which {
    /// Names an instance.
    #[must_use]
    pub fn new(key: ServiceKey, id: InstanceId) -> Self {
        Self {
            service: key.name,
            namespace: Some(key.namespace),
            id,
        }
    }

    /// The service and the id.
    #[must_use]
    pub fn into_parts(self) -> (ServiceKey, InstanceId) {
        let key = match self.namespace {
            Some(namespace) => ServiceKey {
                namespace,
                name: self.service,
            },
            None => ServiceKey::in_default(self.service),
        };
        (key, self.id)
    }
}

/// The body of heartbeats of many instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeats {
    /// Who gives a sign of life.
    pub instances: Vec<Which>,
}

/// A registration in the words of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// The instance; its state is the default.
    pub instance: Instance,
    /// How long it may be silent, if it says.
    pub ttl: Option<Duration>,
    /// The check to run, if there is one.
    pub check: Option<Check>,
    /// Its health in its own words, if it says.
    pub status: Option<Health>,
    /// Why it is so.
    pub note: Option<Arc<str>>,
}

impl OverrideShape {
    /// The ruling of `actor` at that time.
    ///
    /// # Errors
    /// [`Misfit`] names the offending field.
    pub fn ruling(&self, actor: Option<Arc<str>>, at: Timestamp) -> Result<Ruling, Misfit> {
        check_text("/reason", &self.reason)?;
        if self.traffic == Override::None && self.weight.is_none() {
            let message = "it says nothing; use DELETE to take an override back";
            return Err(Misfit::new("/override", message));
        }
        Ok(Ruling {
            traffic: self.traffic,
            weight: self.weight.and_then(|weight| Weight::new(weight.get())),
            reason: self.reason.clone(),
            actor,
            at,
        })
    }
}

impl Registration {
    /// The instance that this describes, with the caller's address if it names none, and
    /// `address:port` for an id if none is given.
    ///
    /// # Errors
    /// [`Misfit`] names the offending field.
    pub fn describe(
        &self,
        key: ServiceKey,
        id: Option<InstanceId>,
        caller: IpAddr,
        source: &SourceId,
    ) -> Result<Described, Misfit> {
        let ip = match &self.address {
            Some(text) => ip_of(text)?,
            None => caller.to_canonical(),
        };
        let endpoints = self.endpoints(ip)?;
        let id = match (id, endpoints.first()) {
            (Some(id), _) => id,
            (None, Some(first)) => InstanceId::parse(&first.address.to_string())
                .map_err(|error| Misfit::new("/address", error.to_string()))?,
            (None, None) => return Err(no_port()),
        };
        check_text("/note", self.note.as_ref())?;
        check_keys(self.metadata.keys())?;
        let check = CheckShape::all(self.check.as_ref(), &self.checks, &endpoints)?;
        let weight = self.weight.map_or(Weight::NORMAL, |weight| {
            Weight::new(weight.get()).unwrap_or_default()
        });
        let instance = Instance {
            key,
            id,
            endpoints: endpoints.into(),
            zone: self.zone.clone(),
            version: self.version.clone(),
            weight,
            tags: self.tags.as_slice().into(),
            metadata: self.metadata.clone(),
            source: source.clone(),
            state: State::default(),
        };
        check_sizes(&instance)?;
        Ok(Described {
            instance,
            ttl: self.ttl.map(|ttl| ttl.0),
            check,
            status: self.status,
            note: self.note.clone(),
        })
    }

    /// The ports; first the one that is used when nobody names one.
    fn endpoints(&self, ip: IpAddr) -> Result<Vec<NamedPort>, Misfit> {
        if self.ports.len() > PORTS_MAX {
            let message = format!("an instance has at most {PORTS_MAX} ports");
            return Err(Misfit::new("/ports", message));
        }
        let only = self.port.iter().map(|port| (ONLY_PORT, port));
        let named = self.ports.iter().map(|(name, port)| (name.as_str(), port));
        let mut endpoints = Vec::new();
        for (name, port) in only.chain(named) {
            let name =
                Name::parse(name).map_err(|error| Misfit::new("/ports", error.to_string()))?;
            let address = SocketAddr::new(ip, port.get());
            let known: Option<&NamedPort> = endpoints
                .iter()
                .find(|known: &&NamedPort| known.name == name);
            match known {
                Some(known) if known.address == address => {}
                Some(_) => {
                    let message = format!("port `{name}` is given twice");
                    return Err(Misfit::new("/ports", message));
                }
                None => endpoints.push(NamedPort { name, address }),
            }
        }
        if endpoints.is_empty() {
            return Err(no_port());
        }
        if self.port.is_none() {
            endpoints.sort_by_key(|endpoint| endpoint.name.as_str() != USUAL_PORT);
        }
        Ok(endpoints)
    }
}

impl Patch {
    /// The instance as it is to be.
    ///
    /// # Errors
    /// [`Misfit`] names the field that is too large or not the caller's to change.
    pub fn apply(&self, instance: &Instance) -> Result<Instance, Misfit> {
        check_keys(self.metadata.keys())?;
        let mut patched = instance.clone();
        for (key, value) in &self.metadata {
            match value {
                Some(value) => patched.metadata.insert(Arc::clone(key), Arc::clone(value)),
                None => patched.metadata.remove(key),
            };
        }
        if let Some(tags) = &self.tags {
            patched.tags = tags.as_slice().into();
        }
        if let Some(version) = &self.version {
            patched.version.clone_from(version);
        }
        if let Some(zone) = &self.zone {
            patched.zone.clone_from(zone);
        }
        if let Some(weight) = self.weight {
            patched.weight = Weight::new(weight.get()).unwrap_or_default();
        }
        check_sizes(&patched)?;
        Ok(patched)
    }
}

impl Heartbeat {
    /// Nothing but a sign of life is fine; a note has a limit.
    ///
    /// # Errors
    /// [`Misfit`] names the offending field.
    pub fn check(&self) -> Result<(), Misfit> {
        check_text("/note", self.note.as_ref())
    }
}

/// Tells `null` from an absent field.
fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

fn ip_of(text: &str) -> Result<IpAddr, Misfit> {
    let ip: IpAddr = text.parse().map_err(|_| {
        let message = format!(
            "`{text}` is not an IP address; for a host name, use a `dns` source or an upstream's `hosts`"
        );
        Misfit::new("/address", message)
    })?;
    if ip.is_unspecified() || ip.is_multicast() {
        let message = format!("nobody can connect to {ip}; name an address of the instance");
        return Err(Misfit::new("/address", message));
    }
    Ok(ip)
}

fn no_port() -> Misfit {
    Misfit::new("/port", "an instance has a `port`, or `ports` by name")
}
