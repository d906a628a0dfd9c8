//! Reads the DNS server's section.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc, time::Duration};

use ipnet::IpNet;
use portolan_model::Problem;

use super::{Reader, any_count, any_text, dns_beyond::recursors};
use crate::{
    Dns, DnsRate, DnsZones, leaf,
    tree::{Node, Span, Value},
};

impl Reader<'_> {
    pub(crate) fn dns(&mut self, node: &Node, at: Span) -> Option<Dns> {
        let dns = Dns {
            is_enabled: node.read("enabled", leaf::flag)?,
            address: node.read("address", leaf::address)?,
            workers: node
                .may_read("workers", any_count)?
                .and_then(|count| NonZeroUsize::new(usize::try_from(count).ok()?)),
            zones: DnsZones {
                consul: node.read_all("consul", leaf::host)?,
                datacenter: node.read("datacenter", leaf::host)?,
                kubernetes: node.read_all("kubernetes", leaf::host)?,
                plain: node.read_all("zones", leaf::host)?,
            },
            ttl: node.read("ttl", leaf::duration_or_zero)?,
            ttls: self.ttls(node, at)?,
            stale_ttl: node.read("stale_ttl", leaf::duration_or_zero)?,
            negative_ttl: node.read("negative_ttl", leaf::duration_or_zero)?,
            udp_bytes_max: node.count("udp_size")?,
            cuts_silently: node.read("three_answers", leaf::flag)?,
            zone: node.may_read("zone", any_text)?,
            networks: networks(node)?,
            gateway: node.read_all("gateway", leaf::ip)?,
            rate: DnsRate {
                responses_per_second: node.may_read("responses", any_count)?.map(saturating),
                slip: node.count("slip")?,
            },
            connections_max: NonZeroUsize::new(node.count("connections")?)?,
            recursors: node.maybe("recursors", recursors)?,
            updates: node.maybe("updates", |updates| self.updates(updates, at))?,
            over_tls: node.maybe("over_tls", |over_tls| self.over_tls(over_tls, at))?,
            is_over_https: node.read("over_https", leaf::flag)?,
        };
        self.overlapping(&dns, node, at);
        Some(dns)
    }

    fn ttls(&mut self, node: &Node, at: Span) -> Option<Vec<(Arc<str>, Duration)>> {
        let mut ttls = Vec::new();
        for (pattern, ttl) in members(node, "ttls")? {
            if !self.is_pattern(pattern, node, "/ttls", at) {
                return None;
            }
            let ttl = leaf::duration_or_zero(ttl.scalar()?).ok()?;
            ttls.push((pattern.to_ascii_lowercase().into(), ttl));
        }
        Some(ttls)
    }

    /// Whether services can be named by it; says why not.
    pub(super) fn is_pattern(
        &mut self,
        pattern: &str,
        node: &Node,
        pointer: &'static str,
        at: Span,
    ) -> bool {
        let star = pattern.find('*');
        let is_one = star.is_none_or(|place| place.saturating_add(1) == pattern.len());
        if !is_one {
            let problem = Problem::new("", format!("`{pattern}` has a `*` before its end"))
                .with_help("write `orders`, `shop/orders`, or the start of names and `*`");
            self.error(node, pointer, at, problem);
        }
        is_one
    }

    /// A zone of two shapes could not be answered.
    fn overlapping(&mut self, dns: &Dns, node: &Node, at: Span) {
        let zones = &dns.zones;
        let mut all: Vec<&String> = Vec::new();
        for zone in [&zones.consul, &zones.kubernetes, &zones.plain]
            .into_iter()
            .flatten()
        {
            if all.contains(&zone) {
                let problem = Problem::new("", format!("the zone `{zone}` is named twice"))
                    .with_help("a zone has names of one shape");
                self.error(node, "/zones", at, problem);
            }
            all.push(zone);
        }
    }
}

fn saturating(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn networks(node: &Node) -> Option<BTreeMap<IpNet, Arc<str>>> {
    let members = members(node, "networks")?.into_iter();
    members
        .map(|(network, zone)| Some((leaf::network(network).ok()?, Arc::from(zone.scalar()?))))
        .collect()
}

/// The members of a map that may be absent.
pub(super) fn members<'n>(node: &'n Node, name: &str) -> Option<Vec<(&'n str, &'n Node)>> {
    if !node.has(name) {
        return Some(Vec::new());
    }
    let Value::Map(members) = &node.get(name)?.value else {
        return None;
    };
    let members = members.iter();
    Some(
        members
            .map(|member| (member.key.as_str(), &member.node))
            .collect(),
    )
}
