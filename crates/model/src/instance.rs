//! One running copy of a service.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU16, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{InstanceId, Name, ServiceKey, SourceId, State};

/// Free key-value pairs of an instance; sorted, so that equal sets are equal bytes.
pub type Metadata = BTreeMap<Arc<str>, Arc<str>>;

/// Share of traffic relative to the other instances of the service; 100 is normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(NonZeroU16);

impl Weight {
    /// What an instance has that says nothing.
    pub const NORMAL: Self = Self(NonZeroU16::new(100).expect("100 is not zero"));

    /// A weight from 1 to 65535; zero is no weight (use an override to take an instance out).
    #[must_use]
    pub const fn new(share: u16) -> Option<Self> {
        match NonZeroU16::new(share) {
            Some(share) => Some(Self(share)),
            None => None,
        }
    }

    /// The share.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0.get()
    }

    /// A tenth of it, but at least 1: the share of an instance that is held or warns.
    #[must_use]
    pub const fn reduced(self) -> Self {
        match NonZeroU16::new(self.0.get() / 10) {
            Some(share) => Self(share),
            None => Self(NonZeroU16::MIN),
        }
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::NORMAL
    }
}

/// A named port of an instance and where it listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NamedPort {
    /// `http`, `grpc`, `secure`, …; an instance's only port is called `default`.
    pub name: Name,
    /// Where to connect.
    pub address: SocketAddr,
}

/// One running copy of a service, as its source describes it.
///
/// There are as many in memory as there are in all, so its size counts: lists have no room
/// beyond what is in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The service.
    pub key: ServiceKey,
    /// The id, unique within the service.
    pub id: InstanceId,
    /// Its ports, at least one; the first is the one used when nobody names another.
    pub endpoints: Box<[NamedPort]>,
    /// Availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// Version of the software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Arc<str>>,
    /// Relative share of traffic.
    #[serde(default)]
    pub weight: Weight,
    /// Flat labels (Consul's tags).
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub tags: Box<[Arc<str>]>,
    /// Key-value labels: the routing language.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: Metadata,
    /// Which source said so.
    pub source: SourceId,
    /// Health and the other axes.
    #[serde(default)]
    pub state: State,
}

impl Instance {
    /// The label that holds the id by which the source calls an instance, if it had to be
    /// written otherwise.
    pub const FOREIGN_ID: &str = "portolan/foreign-id";

    /// Whether both say the same of themselves; their state is not looked at.
    #[must_use]
    pub fn is_described_as(&self, other: &Self) -> bool {
        let Self {
            key,
            id,
            endpoints,
            zone,
            version,
            weight,
            tags,
            metadata,
            source,
            state: _,
        } = self;
        *key == other.key
            && *id == other.id
            && *endpoints == other.endpoints
            && *zone == other.zone
            && *version == other.version
            && *weight == other.weight
            && *tags == other.tags
            && *metadata == other.metadata
            && *source == other.source
    }

    /// Uses the texts of another instance where its own are the same: those of one service
    /// have most of theirs in common, and need them in memory once.
    pub fn share_texts(&mut self, other: &Self) {
        share(&mut self.key, &other.key);
        share(&mut self.source, &other.source);
        for (own, others) in self.endpoints.iter_mut().zip(&other.endpoints) {
            share(&mut own.name, &others.name);
        }
        share(&mut self.zone, &other.zone);
        share(&mut self.version, &other.version);
        for (own, others) in self.tags.iter_mut().zip(&other.tags) {
            share(own, others);
        }
        let own = std::mem::take(&mut self.metadata);
        let shared = own.into_iter().map(|(mut key, mut value)| {
            if let Some((others_key, others)) = other.metadata.get_key_value(&key) {
                key.clone_from(others_key);
                share(&mut value, others);
            }
            (key, value)
        });
        self.metadata = shared.collect();
    }

    /// The id by which the source calls it.
    #[must_use]
    pub fn foreign_id(&self) -> &str {
        let written = self.metadata.get(Self::FOREIGN_ID);
        written.map_or(self.id.as_str(), |id| id)
    }

    /// Where the port of that name listens; the first port if no name is given.
    #[must_use]
    pub fn address(&self, port: Option<&Name>) -> Option<SocketAddr> {
        let found = match port {
            None => self.endpoints.first(),
            Some(name) => self.endpoints.iter().find(|e| e.name == *name),
        };
        found.map(|endpoint| endpoint.address)
    }

    /// The value of a label: metadata first, then `version` and `zone` by these names.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        if let Some(value) = self.metadata.get(key) {
            return Some(value);
        }
        match key {
            "version" => self.version.as_deref(),
            "zone" => self.zone.as_deref(),
            _ => None,
        }
    }

    /// Whether every pair of `wanted` is a label of this instance.
    #[must_use]
    pub fn matches(&self, wanted: &Metadata) -> bool {
        wanted
            .iter()
            .all(|(key, value)| self.label(key) == Some(value))
    }
}

fn share<T: Clone + PartialEq>(own: &mut T, others: &T) {
    if own == others {
        own.clone_from(others);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_is_counted_fits_what_allocators_give_in_one_piece() {
        // Two counters before it; sizes over 224 bytes are rounded up to 256.
        assert!(size_of::<Instance>() + 2 * size_of::<usize>() <= 224);
    }
}
