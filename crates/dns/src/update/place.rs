//! What a name of an update stands for. Pure.

use hickory_proto::rr::Name as DnsName;
use portolan_dialects::consul::is_node;
use portolan_model::{Name, ServiceKey};
use portolan_snapshot::FIXED_NAMESPACE;

/// Protocols of RFC 2782's names.
const PROTOCOLS: [&str; 2] = ["_tcp", "_udp"];

/// A name's meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `svc.<zone>`, `svc.namespace.<zone>`: a service, by addresses or by SRV records.
    Service(ServiceKey),
    /// `_svc._tcp.<zone>`, `_svc._tcp.namespace.<zone>`: a service, by SRV records only.
    Located(ServiceKey),
    /// Nothing that could register.
    Nothing,
}

impl Place {
    /// What a name in a zone stands for.
    pub(super) fn of(name: &DnsName, zone: &DnsName) -> Self {
        let name = name.to_lowercase();
        let count = usize::from(name.num_labels()).saturating_sub(usize::from(zone.num_labels()));
        let labels: Option<Vec<&str>> = name
            .iter()
            .take(count)
            .map(|label| {
                std::str::from_utf8(label)
                    .ok()
                    .filter(|text| !text.is_empty())
            })
            .collect();
        let Some(labels) = labels else {
            return Self::Nothing;
        };
        let found = match *labels {
            [service, protocol] if PROTOCOLS.contains(&protocol) => {
                located(service, ServiceKey::DEFAULT_NAMESPACE)
            }
            [service, protocol, namespace] if PROTOCOLS.contains(&protocol) => {
                located(service, namespace)
            }
            [service] => key(service, ServiceKey::DEFAULT_NAMESPACE).map(Self::Service),
            [service, namespace] => key(service, namespace).map(Self::Service),
            _ => None,
        };
        found.unwrap_or(Self::Nothing)
    }

    pub(super) const fn service(&self) -> Option<&ServiceKey> {
        match self {
            Self::Service(key) | Self::Located(key) => Some(key),
            Self::Nothing => None,
        }
    }
}

fn located(service: &str, namespace: &str) -> Option<Place> {
    let service = service.strip_prefix('_')?;
    key(service, namespace).map(Place::Located)
}

/// A service whose names mean nothing else, and which is not Portolan's own: upstreams of the
/// configuration and Consul's nodes are not registered by updates.
fn key(service: &str, namespace: &str) -> Option<ServiceKey> {
    let is_plain = |text: &&str| !text.starts_with('_');
    let name = |text: &str| {
        Some(text)
            .filter(is_plain)
            .and_then(|text| Name::parse(text).ok())
    };
    let key = ServiceKey {
        namespace: name(namespace)?,
        name: name(service)?,
    };
    let is_own = key.namespace.as_str() == FIXED_NAMESPACE || is_node(&key);
    (!is_own).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_services_by_their_labels() {
        let zone = DnsName::from_ascii("portolan.").unwrap();
        let service = |text: &str| Place::Service(ServiceKey::parse(text).unwrap());
        let located = |text: &str| Place::Located(ServiceKey::parse(text).unwrap());
        for (name, place) in [
            ("Orders.portolan.", service("orders")),
            ("orders.shop.portolan.", service("shop/orders")),
            ("_orders._tcp.portolan.", located("orders")),
            ("_orders._UDP.shop.portolan.", located("shop/orders")),
            ("portolan.", Place::Nothing),
            ("_orders.portolan.", Place::Nothing),
            ("orders._tcp.portolan.", Place::Nothing),
            ("a.b.c.portolan.", Place::Nothing),
            ("__x._tcp.portolan.", Place::Nothing),
            ("orders.upstream.portolan.", Place::Nothing),
            ("_agent._tcp.consul-nodes.portolan.", Place::Nothing),
            ("n1.Consul-Nodes.portolan.", Place::Nothing),
        ] {
            assert_eq!(
                Place::of(&DnsName::from_ascii(name).unwrap(), &zone),
                place,
                "{name}"
            );
        }
    }
}
