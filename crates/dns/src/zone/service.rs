//! A service as it is answered: what may get traffic, sorted by what can be asked.
//!
//! Three parts are made each when somebody asks for it, and ahead while somebody does (see
//! [`Lazy`]): who gets traffic; the same by tag and port; single instances by their labels.
//! Most services are asked for the first only, and most changes are of services that nobody
//! asks for at the time. A service of three instances takes some microseconds to make; one of
//! thousands, about a millisecond, which no query should wait for twice.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use portolan_catalog::Service as Known;
use portolan_model::Instance;

use super::{Group, Label, Member, labels::Labels, lazy::Lazy};

/// Most tags of a service that have answers of their own; more are answered as unknown.
const GROUPS_MAX: usize = 1024;
/// What a port without a name is called, which nobody asks for.
const ONLY_PORT: &str = "default";
/// Longest tag: more does not fit a name.
const TAG_BYTES_MAX: usize = 200;

/// A service, answered from.
#[derive(Debug)]
pub(crate) struct Service {
    /// As the catalogue has it.
    pub(crate) known: Arc<Known>,
    /// Seconds: of what is known, and of what is stale.
    ttls: [u32; 2],
    is_open: bool,
    whole: Lazy<Whole>,
    /// Most services never have these.
    parts: Lazy<Box<Parts>>,
    labels: Lazy<Box<Labels>>,
}

/// What is told of a service as a whole.
#[derive(Debug, Default)]
struct Whole {
    /// Everything that may get traffic, by its first port.
    group: Group,
    zones: Vec<Arc<str>>,
    ttl: u32,
}

/// Groups with names of their own.
#[derive(Debug, Default)]
struct Parts {
    /// By tag, in small letters.
    tags: HashMap<Box<[u8]>, Group>,
    /// Ends of tags that have dots.
    tag_parents: HashSet<Box<[u8]>>,
    /// By the name of a port.
    ports: HashMap<Box<[u8]>, Group>,
}

impl Service {
    /// Whoever of `known` may get traffic, with a TTL in seconds by whether it is stale.
    pub(crate) fn new(known: &Arc<Known>, ttl: u32, stale_ttl: u32) -> Self {
        Self {
            known: Arc::clone(known),
            ttls: [ttl, ttl.max(stale_ttl)],
            is_open: listening(known).next().is_some(),
            whole: Lazy::default(),
            parts: Lazy::default(),
            labels: Lazy::default(),
        }
    }

    /// Makes what was asked of the one before.
    pub(super) fn follow(&self, before: &Self) {
        if self.whole.is_warm_after(&before.whole) {
            self.whole.put(self.make_whole());
        }
        if self.parts.is_warm_after(&before.parts) {
            self.parts.put(Box::new(self.make_parts()));
        }
        if self.labels.is_warm_after(&before.labels) {
            self.labels.put(Box::new(Labels::new(self)));
        }
    }

    /// Everything that may get traffic, by its first port.
    pub(crate) fn all(&self) -> &Group {
        &self.whole().group
    }

    /// How long an answer may be kept, in seconds.
    pub(crate) fn ttl(&self) -> u32 {
        self.whole().ttl
    }

    /// Whether nobody may get traffic.
    pub(crate) const fn is_empty(&self) -> bool {
        !self.is_open
    }

    /// Those of its instances that are answered.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Arc<Instance>> {
        listening(&self.known).map(|(_, instance, _)| instance)
    }

    /// Where each of those listens first, also of several at one address and port.
    pub(super) fn members(&self) -> impl Iterator<Item = Member> {
        let zones = &self.whole().zones;
        listening(&self.known).map(|(place, instance, first)| {
            let zone = instance
                .zone
                .as_ref()
                .and_then(|zone| place_of(zones, zone));
            Member::of(instance, place, zone).at(first)
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
        self.parts().tags.get(tag)
    }

    /// Whether a tag has more labels before these: there are names below (RFC 8020).
    pub(crate) fn is_tag_parent(&self, labels: &[u8]) -> bool {
        self.parts().tag_parents.contains(labels)
    }

    /// Those with a port of that name.
    pub(crate) fn port(&self, name: &[u8]) -> Option<&Group> {
        self.parts().ports.get(name)
    }

    /// The addresses of the instances of that host name, in small letters.
    pub(crate) fn host(&self, label: &[u8]) -> &[IpAddr] {
        self.labels().host(label)
    }

    /// The instance of that id, in small letters.
    pub(crate) fn id(&self, id: &[u8]) -> Option<&Member> {
        self.labels().id(id)
    }

    /// The host names of the instances at that address.
    pub(crate) fn names_of(&self, ip: IpAddr) -> impl Iterator<Item = &Label> {
        self.labels().names_of(ip)
    }

    /// The place of a zone, for [`Member::is_in`].
    pub(crate) fn zone(&self, name: &str) -> Option<u16> {
        place_of(&self.whole().zones, name)
    }

    fn whole(&self) -> &Whole {
        self.whole.get(|| self.make_whole())
    }

    fn parts(&self) -> &Parts {
        self.parts.get(|| Box::new(self.make_parts()))
    }

    fn labels(&self) -> &Labels {
        self.labels.get(|| Box::new(Labels::new(self)))
    }

    fn make_whole(&self) -> Whole {
        let mut whole = Whole::default();
        [whole.ttl, _] = self.ttls;
        let mut members = Vec::with_capacity(self.known.instances.len());
        for (place, instance, first) in listening(&self.known) {
            if instance.state.stale {
                [_, whole.ttl] = self.ttls;
            }
            let zone = instance.zone.as_ref();
            let zone = zone.and_then(|zone| whole.zone_of(zone));
            members.push(Member::of(instance, place, zone).at(first));
        }
        whole.group = Group::new(members);
        whole
    }

    fn make_parts(&self) -> Parts {
        let (mut by_tag, mut by_port) = (HashMap::new(), HashMap::new());
        for member in self.members() {
            let Some(instance) = self.instance(&member) else {
                continue;
            };
            let short = instance
                .tags
                .iter()
                .filter(|tag| tag.len() <= TAG_BYTES_MAX);
            short.for_each(|tag| put(&mut by_tag, tag, member));
            let endpoints = instance.endpoints.iter();
            for endpoint in endpoints.filter(|endpoint| endpoint.name.as_str() != ONLY_PORT) {
                put(
                    &mut by_port,
                    endpoint.name.as_str(),
                    member.at(endpoint.address),
                );
            }
        }
        let mut parts = Parts::default();
        for tag in by_tag.keys() {
            let mut rest = &**tag;
            while let Some(dot) = rest.iter().position(|byte| *byte == b'.') {
                rest = rest.get(dot.saturating_add(1)..).unwrap_or_default();
                parts.tag_parents.insert(rest.into());
            }
        }
        let grouped = |lists: HashMap<Box<[u8]>, Vec<Member>>| {
            let groups = lists.into_iter();
            groups
                .map(|(name, list)| (name, Group::new(list)))
                .collect()
        };
        (parts.tags, parts.ports) = (grouped(by_tag), grouped(by_port));
        parts
    }
}

impl Whole {
    fn zone_of(&mut self, zone: &Arc<str>) -> Option<u16> {
        if let Some(place) = place_of(&self.zones, zone) {
            return Some(place);
        }
        self.zones.push(Arc::clone(zone));
        u16::try_from(self.zones.len().saturating_sub(1)).ok()
    }
}

fn place_of(zones: &[Arc<str>], name: &str) -> Option<u16> {
    let place = zones.iter().position(|zone| **zone == *name)?;
    u16::try_from(place).ok()
}

/// The instances that may get traffic, with their places and where they listen first.
pub(super) fn listening(known: &Known) -> impl Iterator<Item = (u32, &Arc<Instance>, SocketAddr)> {
    let instances = (0_u32..).zip(&known.instances);
    let open = instances.filter(|(_, instance)| instance.state.traffic().is_open());
    open.filter_map(|(place, instance)| {
        let first = instance.endpoints.first()?;
        Some((place, instance, first.address))
    })
}

/// Lists a member under a name, unless that is none, or one too many.
fn put(lists: &mut HashMap<Box<[u8]>, Vec<Member>>, name: &str, member: Member) {
    let name = name.to_ascii_lowercase().into_bytes().into_boxed_slice();
    let is_full = lists.len() >= GROUPS_MAX && !lists.contains_key(&name);
    if !name.is_empty() && !is_full {
        lists.entry(name).or_default().push(member);
    }
}
