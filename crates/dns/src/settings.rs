//! What the configuration says, ready to be looked at for each query.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use portolan_config::{Dns as Planned, DnsRate};
use portolan_model::ServiceKey;

use crate::wire::Name;

/// How names are answered.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The longest first, so that the nearest is found.
    pub(crate) zones: Vec<Zone>,
    pub(crate) datacenter: Box<[u8]>,
    ttl: u32,
    /// The longest patterns first.
    ttls: Vec<(Arc<str>, u32)>,
    pub(crate) stale_ttl: u32,
    pub(crate) negative_ttl: u32,
    pub(crate) udp_bytes_max: u16,
    pub(crate) cuts_silently: bool,
    zone: Option<Arc<str>>,
    /// The longest prefixes first.
    networks: Vec<(IpNet, Arc<str>)>,
    pub(crate) gateway: Gateway,
    pub(crate) rate: DnsRate,
}

/// A zone of ours.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    pub(crate) shape: Shape,
    pub(crate) name: Name,
}

/// What names of a zone look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `orders.service.<zone>`
    Consul,
    /// `orders.shop.svc.<zone>`
    Kubernetes,
    /// `orders.shop.<zone>`
    Plain,
}

/// Where the gateway is, for SVCB and HTTPS records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gateway {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The port of its first listener with TLS, and the protocols there by their ALPN names.
    pub tls: Option<(u16, Vec<&'static str>)>,
    /// The port of its first listener in plain text.
    pub plain: Option<u16>,
}

impl Settings {
    /// What a plan says, and where the gateway is.
    pub(crate) fn new(planned: &Planned, gateway: Gateway) -> Self {
        let shapes = [
            (Shape::Consul, &planned.zones.consul),
            (Shape::Kubernetes, &planned.zones.kubernetes),
            (Shape::Plain, &planned.zones.plain),
        ];
        let zones = shapes.into_iter().flat_map(|(shape, names)| {
            let names = names.iter().filter_map(|name| Name::of_text(name));
            names.map(move |name| Zone { shape, name })
        });
        let mut zones: Vec<_> = zones.collect();
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.name.labels()));
        let ttls = planned.ttls.iter();
        let mut ttls: Vec<_> = ttls
            .map(|(pattern, ttl)| (Arc::clone(pattern), seconds(*ttl)))
            .collect();
        ttls.sort_by_key(|(pattern, _)| (pattern.ends_with('*'), std::cmp::Reverse(pattern.len())));
        let networks = planned.networks.iter();
        let mut networks: Vec<_> = networks
            .map(|(network, zone)| (*network, Arc::clone(zone)))
            .collect();
        networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        Self {
            zones,
            datacenter: planned.zones.datacenter.as_bytes().into(),
            ttl: seconds(planned.ttl),
            ttls,
            stale_ttl: seconds(planned.stale_ttl),
            negative_ttl: seconds(planned.negative_ttl),
            udp_bytes_max: planned.udp_bytes_max,
            cuts_silently: planned.cuts_silently,
            zone: planned.zone.clone(),
            networks,
            gateway: Gateway {
                addresses: if planned.gateway.is_empty() {
                    gateway.addresses
                } else {
                    planned.gateway.clone()
                },
                ..gateway
            },
            rate: planned.rate,
        }
    }

    /// How long an answer about a service may be kept, in seconds.
    pub(crate) fn ttl_of(&self, key: &ServiceKey) -> u32 {
        let key = key.to_string();
        let found = self.ttls.iter().find(|(pattern, _)| fits(pattern, &key));
        found.map_or(self.ttl, |(_, ttl)| *ttl)
    }

    /// How long a name that spells an address may be kept: as long as any answer.
    pub(crate) const fn address_ttl(&self) -> u32 {
        self.ttl
    }

    /// The zone of a client.
    pub(crate) fn zone_of(&self, client: IpAddr) -> Option<&Arc<str>> {
        let found = self
            .networks
            .iter()
            .find(|(network, _)| network.contains(&client));
        found.map(|(_, zone)| zone).or(self.zone.as_ref())
    }

    /// How long a prefix of that family can decide; nobody is told apart by more bits.
    pub(crate) fn scope(&self, client: IpAddr) -> u8 {
        let networks = self.networks.iter();
        let family = networks.filter(|(network, _)| network.addr().is_ipv4() == client.is_ipv4());
        let prefixes = family.map(|(network, _)| network.prefix_len());
        prefixes.max().unwrap_or_default()
    }
}

/// Whether a service is meant by a pattern: itself, or what it begins with and a `*`.
pub(crate) fn fits(pattern: &str, service: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => service.starts_with(start),
        None => service == pattern,
    }
}

/// Whole seconds, up to what a TTL can hold (RFC 2181, section 8).
fn seconds(span: Duration) -> u32 {
    const TTL_MAX: u64 = i32::MAX as u64;
    u32::try_from(span.as_secs().min(TTL_MAX)).unwrap_or_default()
}
