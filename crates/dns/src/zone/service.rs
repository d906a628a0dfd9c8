//! A service as it is answered: what may get traffic, sorted by what can be asked.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use portolan_catalog::Service as Known;
use portolan_model::{Instance, Traffic};

/// Most tags of a service that have answers of their own; more are answered as unknown.
const GROUPS_MAX: usize = 1024;
/// What a port without a name is called, which nobody asks for.
const ONLY_PORT: &str = "default";
/// Longest tag: more does not fit a name.
const TAG_BYTES_MAX: usize = 200;

/// A service, ready to be answered.
#[derive(Debug)]
pub(crate) struct Service {
    /// As the catalogue has it.
    pub(crate) known: Arc<Known>,
    /// Everything that may get traffic, by its first port.
    pub(crate) all: Group,
    /// By tag, in small letters.
    tags: HashMap<Box<[u8]>, Group>,
    /// By the name of a port.
    ports: HashMap<Box<[u8]>, Group>,
    zones: Vec<Arc<str>>,
    /// Seconds.
    pub(crate) ttl: u32,
}

/// Members that are answered together. A service without groups of its own has one member
/// list for each question only.
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

const NO_ZONE: u16 = u16::MAX;

impl Service {
    /// Whoever of `known` may get traffic, with a TTL in seconds by whether it is stale.
    pub(crate) fn new(known: &Arc<Known>, ttl: u32, stale_ttl: u32) -> Self {
        let mut service = Self {
            known: Arc::clone(known),
            all: Group::default(),
            tags: HashMap::new(),
            ports: HashMap::new(),
            zones: Vec::new(),
            ttl,
        };
        for (place, instance) in known.instances.iter().enumerate() {
            if !instance.state.traffic().is_open() {
                continue;
            }
            service.take(instance, u32::try_from(place).unwrap_or(u32::MAX));
            if instance.state.stale {
                service.ttl = ttl.max(stale_ttl);
            }
        }
        service.all.settle();
        let groups = service.tags.values_mut().chain(service.ports.values_mut());
        groups.for_each(Group::settle);
        service
    }

    /// Those of its instances that are answered.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Arc<Instance>> {
        let instances = self.known.instances.iter();
        instances.filter(|instance| instance.state.traffic().is_open())
    }

    /// Where each of those listens first, also of several at one address and port.
    pub(crate) fn members(&self) -> impl Iterator<Item = Member> {
        let instances = self.known.instances.iter().zip(0_u32..);
        let open = instances.filter(|(instance, _)| instance.state.traffic().is_open());
        open.filter_map(|(instance, place)| {
            let first = instance.endpoints.first()?;
            let zone = instance.zone.as_ref().and_then(|zone| self.zone(zone));
            Some(Member::of(instance, place, zone).at(first.address))
        })
    }

    /// The instance of a member.
    pub(crate) fn instance(&self, member: &Member) -> Option<&Arc<Instance>> {
        self.known
            .instances
            .get(usize::try_from(member.instance).ok()?)
    }

    /// Those with that tag, in small letters.
    pub(crate) fn tagged(&self, tag: &[u8]) -> Option<&Group> {
        self.tags.get(tag)
    }

    /// Those with a port of that name.
    pub(crate) fn port(&self, name: &[u8]) -> Option<&Group> {
        self.ports.get(name)
    }

    /// Whether nobody may get traffic.
    pub(crate) const fn is_empty(&self) -> bool {
        self.all.servers.list.is_empty()
    }

    /// The place of a zone, for [`Member::is_in`].
    pub(crate) fn zone(&self, name: &str) -> Option<u16> {
        let place = self.zones.iter().position(|zone| **zone == *name)?;
        u16::try_from(place).ok()
    }

    fn take(&mut self, instance: &Instance, place: u32) {
        let nowhere = Member::of(instance, place, Some(self.zone_of(instance)));
        let member = |address: SocketAddr| nowhere.at(address);
        let Some(first) = instance.endpoints.first() else {
            return;
        };
        let main = member(first.address);
        self.all.add(main);
        for tag in &instance.tags {
            if tag.len() <= TAG_BYTES_MAX {
                group(&mut self.tags, tag).add(main);
            }
        }
        let named = instance.endpoints.iter();
        for endpoint in named.filter(|endpoint| endpoint.name.as_str() != ONLY_PORT) {
            group(&mut self.ports, endpoint.name.as_str()).add(member(endpoint.address));
        }
    }

    fn zone_of(&mut self, instance: &Instance) -> u16 {
        let Some(zone) = &instance.zone else {
            return NO_ZONE;
        };
        if let Some(place) = self.zone(zone) {
            return place;
        }
        let place = u16::try_from(self.zones.len()).unwrap_or(NO_ZONE);
        self.zones.push(Arc::clone(zone));
        place
    }
}

/// The group of a name; beyond the limit, one that nobody finds.
fn group<'g>(groups: &'g mut HashMap<Box<[u8]>, Group>, name: &str) -> &'g mut Group {
    let name = name.to_ascii_lowercase().into_bytes().into_boxed_slice();
    let is_full = groups.len() >= GROUPS_MAX && !groups.contains_key(&name);
    groups
        .entry(if is_full { Box::default() } else { name })
        .or_default()
}

impl Group {
    fn add(&mut self, member: Member) {
        let addresses = match member.ip {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        };
        addresses.list.push(Member { port: 0, ..member });
        self.servers.list.push(member);
    }

    fn settle(&mut self) {
        for members in [&mut self.v4, &mut self.v6, &mut self.servers] {
            members.settle();
        }
    }
}

impl Members {
    /// Members of a list that somebody else made.
    pub(crate) fn new(list: Vec<Member>) -> Self {
        let mut members = Self {
            list,
            is_even: false,
        };
        members.settle();
        members
    }

    /// Each address and port once, with the sum of the weights.
    fn settle(&mut self) {
        let mut sums: BTreeMap<(IpAddr, u16), Member> = BTreeMap::new();
        for member in self.list.drain(..) {
            sums.entry((member.ip, member.port))
                .and_modify(|sum| sum.weight = sum.weight.saturating_add(member.weight))
                .or_insert(member);
        }
        self.list = sums.into_values().collect();
        let first = self.list.first().map(|member| member.weight);
        let mut weights = self.list.iter().map(|member| Some(member.weight));
        self.is_even = weights.all(|weight| weight == first);
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
    fn of(instance: &Instance, place: u32, zone: Option<u16>) -> Self {
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
    fn at(&self, address: SocketAddr) -> Self {
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
}
