//! Who is answered together: addresses, ports and weights.

use std::{
    cmp::Ordering,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use portolan_model::{Instance, Traffic};

/// Members that are answered together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// Each IPv4 address once.
    pub(crate) v4: Members,
    /// Each IPv6 address once.
    pub(crate) v6: Members,
    /// Each address and port.
    pub(crate) servers: Members,
}

/// Members of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    pub(crate) list: Vec<Member>,
    /// Whether all have the same weight.
    pub(crate) is_even: bool,
}

/// Where an instance listens and what share it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) weight: u16,
    /// The place of its instance in the catalogue's list.
    pub(crate) instance: u32,
    /// The place of its zone among the service's; [`NO_ZONE`] if it has none.
    zone: u16,
}

pub(super) const NO_ZONE: u16 = u16::MAX;

impl Group {
    /// The group of those, in any order.
    pub(super) fn new(members: Vec<Member>) -> Self {
        let servers = Members::new(members);
        let of = |is_wanted: fn(&IpAddr) -> bool| {
            let members = servers.list.iter().filter(|member| is_wanted(&member.ip));
            Members::sorted(members.map(Member::portless).collect())
        };
        Self {
            v4: of(IpAddr::is_ipv4),
            v6: of(IpAddr::is_ipv6),
            servers,
        }
    }
}

impl Members {
    /// Members of a list in any order.
    pub(crate) fn new(mut list: Vec<Member>) -> Self {
        list.sort_by(Member::order);
        Self::sorted(list)
    }

    /// Each address and port once, with the sum of the weights.
    fn sorted(mut list: Vec<Member>) -> Self {
        list.dedup_by(|next, kept| {
            let is_same = kept.order(next) == Ordering::Equal;
            if is_same {
                kept.weight = kept.weight.saturating_add(next.weight);
            }
            is_same
        });
        list.shrink_to_fit();
        let first = list.first().map(|member| member.weight);
        let is_even = list.iter().all(|member| Some(member.weight) == first);
        Self { list, is_even }
    }
}

impl Member {
    /// A member without a zone.
    pub(crate) const fn new(ip: IpAddr, port: u16, weight: u16) -> Self {
        Self {
            ip,
            port,
            weight,
            instance: u32::MAX,
            zone: NO_ZONE,
        }
    }

    /// A member that is told of nowhere yet.
    pub(super) fn of(instance: &Instance, place: u32, zone: Option<u16>) -> Self {
        let weight = if instance.state.traffic() == Traffic::Reduced {
            instance.weight.reduced()
        } else {
            instance.weight
        };
        Self {
            instance: place,
            zone: zone.unwrap_or(NO_ZONE),
            ..Self::new(Ipv4Addr::UNSPECIFIED.into(), 0, weight.as_u16())
        }
    }

    /// The same at an address.
    pub(super) fn at(&self, address: SocketAddr) -> Self {
        Self {
            ip: address.ip().to_canonical(),
            port: address.port(),
            ..*self
        }
    }

    /// The same without a port, as addresses are told.
    pub(crate) const fn portless(&self) -> Self {
        Self { port: 0, ..*self }
    }

    /// Whether it is in that zone of its service.
    pub(crate) const fn is_in(&self, zone: u16) -> bool {
        self.zone == zone
    }

    fn order(&self, other: &Self) -> Ordering {
        (self.ip, self.port).cmp(&(other.ip, other.port))
    }
}
