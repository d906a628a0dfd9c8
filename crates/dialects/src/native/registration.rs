//! What an instance says about itself.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    sync::Arc,
    time::Duration,
};

use portolan_model::{
    Health, Instance, InstanceId, Name, NamedPort, ServiceKey, SourceId, State, Weight,
    route::Check,
};
use serde::{Deserialize, Serialize};

use super::{CheckShape, Span};

/// Most named ports of an instance.
const PORTS_MAX: usize = 64;
/// Most tags of an instance.
const TAGS_MAX: usize = 256;
/// Most metadata pairs of an instance.
const METADATA_MAX: usize = 256;
/// Longest tag, key, value, version, zone or note, in bytes.
const TEXT_BYTES_MAX: usize = 4096;
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

/// What does not fit in a well-formed request. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct Misfit {
    /// JSON pointer to the field.
    pub pointer: &'static str,
    /// What is wrong with it.
    pub message: String,
}

impl Misfit {
    pub(super) fn new(pointer: &'static str, message: impl Into<String>) -> Self {
        Self {
            pointer,
            message: message.into(),
        }
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
        self.check_sizes()?;
        let check = self.check.as_ref().map(CheckShape::to_check).transpose()?;
        let weight = self.weight.map_or(Weight::NORMAL, |weight| {
            Weight::new(weight.get()).unwrap_or_default()
        });
        Ok(Described {
            instance: Instance {
                key,
                id,
                endpoints,
                zone: self.zone.clone(),
                version: self.version.clone(),
                weight,
                tags: self.tags.clone(),
                metadata: self.metadata.clone(),
                source: source.clone(),
                state: State::default(),
            },
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

    fn check_sizes(&self) -> Result<(), Misfit> {
        if self.tags.len() > TAGS_MAX {
            let message = format!("an instance has at most {TAGS_MAX} tags");
            return Err(Misfit::new("/tags", message));
        }
        if self.metadata.len() > METADATA_MAX {
            let message = format!("an instance has at most {METADATA_MAX} pairs");
            return Err(Misfit::new("/metadata", message));
        }
        let pairs = self.metadata.iter().flat_map(|(key, value)| [key, value]);
        let texts = [
            ("/tags", self.tags.iter().collect::<Vec<_>>()),
            ("/metadata", pairs.collect()),
            ("/version", self.version.iter().collect()),
            ("/zone", self.zone.iter().collect()),
            ("/note", self.note.iter().collect()),
        ];
        for (pointer, texts) in texts {
            if texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
                let message = format!("a text is over {TEXT_BYTES_MAX} bytes");
                return Err(Misfit::new(pointer, message));
            }
        }
        Ok(())
    }
}

impl Heartbeat {
    /// Nothing but a sign of life is fine; a note has a limit.
    ///
    /// # Errors
    /// [`Misfit`] names the offending field.
    pub fn check(&self) -> Result<(), Misfit> {
        let bytes = self.note.as_ref().map_or(0, |note| note.len());
        if bytes > TEXT_BYTES_MAX {
            let message = format!("a text is over {TEXT_BYTES_MAX} bytes");
            return Err(Misfit::new("/note", message));
        }
        Ok(())
    }
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
