//! What a name stands for. Pure: a name, a zone and a table in, a subject out.

use std::net::IpAddr;

use crate::{
    answer::{consul, kubernetes, plain, reverse},
    engine::Task,
    settings::{Settings, Shape, Zone},
    wire::Name,
    zone::{Group, Key, Member, Service, Table},
};

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Subject<'t> {
    /// In a zone of ours, and nothing.
    Nothing,
    /// There are names below it, and nothing else.
    Inner,
    /// The zone itself.
    Apex,
    /// The server of the zone.
    Server,
    /// A service, or those of its members that were asked for.
    Service(&'t Service, &'t Group),
    /// A port of a service: it has SRV records only.
    Port(&'t Service, &'t Group),
    /// One instance by a name of its own, with all that have that name.
    Endpoint(&'t [IpAddr], u32),
    /// The address that the name spells.
    Address(IpAddr),
    /// What says which version of the Kubernetes specification this is.
    Version,
    /// A service to be browsed (RFC 6763): its instances by name.
    Browsed(&'t Service),
    /// One instance of it.
    Instance(&'t Service, Member),
    /// The list of services in a namespace.
    Types(&'t [u8]),
    /// The domain to browse, which is the zone itself or a namespace of it.
    Domain(usize),
    /// A node, which somebody else knows.
    Node(String),
    /// A prepared query, which somebody else executes.
    Query(String),
}

impl Subject<'_> {
    /// What somebody else is to be asked on behalf of a client.
    pub(crate) fn task(&self, client: IpAddr) -> Option<Task> {
        if let Self::Node(name) = self {
            return Some(Task::Node(name.clone()));
        }
        if let Self::Query(name) = self {
            return Some(Task::Query(name.clone(), client));
        }
        None
    }
}

/// Where a name is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) name: &'a Name,
    /// Labels before the zone's.
    pub(crate) own: usize,
    pub(crate) table: &'a Table,
    pub(crate) settings: &'a Settings,
}

/// The zone of a name and what the name stands for there; none if it is not ours.
pub(crate) fn resolve<'a>(
    name: &'a Name,
    table: &'a Table,
    settings: &'a Settings,
) -> Option<(&'a Zone, Place<'a>, Subject<'a>)> {
    let mut zones = settings.zones.iter();
    let (zone, own) = zones.find_map(|zone| Some((zone, name.before(&zone.name)?)))?;
    let place = Place {
        name,
        own,
        table,
        settings,
    };
    let subject = match (own, zone.shape) {
        (0, _) => Subject::Apex,
        (1, _) if name.label(0) == b"ns" => Subject::Server,
        (_, Shape::Consul) => consul::resolve(place),
        (_, Shape::Kubernetes) => kubernetes::resolve(place),
        (_, Shape::Plain) => plain::resolve(place),
    };
    Some((zone, place, subject))
}

/// The address that a name in the reverse tree spells.
pub(crate) fn reversed(name: &Name) -> Option<IpAddr> {
    reverse::address(name)
}

impl<'a> Place<'a> {
    /// A label before the zone's.
    pub(crate) fn label(&self, place: usize) -> &'a [u8] {
        self.name.label(place)
    }

    /// The labels from one place up to another, without taking memory.
    pub(crate) fn joined(&self, from: usize, to: usize) -> Key {
        Key::joined((from..to).map(|place| self.label(place)))
    }

    /// The labels from one place up to another as one text.
    pub(crate) fn text(&self, from: usize, to: usize) -> String {
        let labels = (from..to).map(|place| String::from_utf8_lossy(self.label(place)));
        labels.collect::<Vec<_>>().join(".")
    }

    /// Whether what stands in those labels is the end of a service's name that has dots: there
    /// are names below it (RFC 8020).
    pub(crate) fn is_parent(&self, from: usize, to: usize, namespace: &[u8]) -> bool {
        let labels = (from..to).map(|place| self.label(place));
        self.table.is_parent(&Key::new(labels, namespace))
    }

    /// The service whose name stands in those labels.
    pub(crate) fn service(&self, from: usize, to: usize, namespace: &[u8]) -> Option<&'a Service> {
        let labels = (from..to).map(|place| self.label(place));
        self.table.find(&Key::new(labels, namespace))
    }
}

/// The address that 8 or 32 hexadecimal digits are.
pub(crate) fn hexadecimal(label: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(label).ok()?;
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    match text.len() {
        8 => Some(IpAddr::V4(u32::from_str_radix(text, 16).ok()?.into())),
        32 => Some(IpAddr::V6(u128::from_str_radix(text, 16).ok()?.into())),
        _ => None,
    }
}
