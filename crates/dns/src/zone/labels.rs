//! The labels by which single instances are asked for.

use std::{collections::HashMap, fmt, net::IpAddr};

use portolan_model::Instance;

use super::{Member, Service};
use crate::wire::LABEL_BYTES_MAX;

/// The metadata key by which an instance says its host name.
const HOSTNAME: &str = "hostname";

/// Instances by their labels, all in small letters.
#[derive(Debug, Default)]
pub(super) struct Labels {
    /// Addresses by host name, each once and in order.
    hosts: HashMap<Box<[u8]>, Vec<IpAddr>>,
    /// Host names by address, each once and in order.
    names: Vec<(IpAddr, Label)>,
    /// Who has that id.
    ids: HashMap<Box<[u8]>, Member>,
}

/// One label, kept where no memory is taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label {
    bytes: [u8; LABEL_BYTES_MAX],
    len: usize,
}

impl Labels {
    /// Those of a service, also of several instances at one address and port.
    pub(super) fn new(service: &Service) -> Self {
        let mut labels = Self::default();
        for member in service.members() {
            let label = label_of(service, &member);
            labels.names.push((member.ip, label));
            let hosts = labels.hosts.entry(label.as_bytes().into()).or_default();
            hosts.push(member.ip);
            if let Some(instance) = service.instance(&member) {
                let id = instance.id.as_str().to_ascii_lowercase().into_bytes();
                // Of two whose ids differ in capitals only, the first is heard.
                labels.ids.entry(id.into()).or_insert(member);
            }
        }
        labels.names.sort_unstable();
        labels.names.dedup();
        for addresses in labels.hosts.values_mut() {
            addresses.sort_unstable();
            addresses.dedup();
        }
        labels
    }

    pub(super) fn host(&self, label: &[u8]) -> &[IpAddr] {
        self.hosts.get(label).map_or(&[], Vec::as_slice)
    }

    pub(super) fn id(&self, id: &[u8]) -> Option<&Member> {
        self.ids.get(id)
    }

    pub(super) fn names_of(&self, ip: IpAddr) -> impl Iterator<Item = &Label> {
        let from = self.names.partition_point(|(other, _)| *other < ip);
        let names = self.names.get(from..).unwrap_or_default().iter();
        let names = names.take_while(move |(other, _)| *other == ip);
        names.map(|(_, label)| label)
    }
}

/// The label of an instance: its host name, or one that is made of its address.
pub(crate) fn label_of(service: &Service, member: &Member) -> Label {
    let instance = service.instance(member);
    match instance.and_then(|instance| hostname(instance)) {
        Some(hostname) => Label::new(hostname),
        None => Label::dashed(member.ip),
    }
}

/// The host name of an instance, if it says one that is a label.
fn hostname(instance: &Instance) -> Option<&str> {
    let text: &str = instance.metadata.get(HOSTNAME)?;
    let is_label = (1..=LABEL_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_label.then_some(text)
}

impl Label {
    fn empty() -> Self {
        Self {
            bytes: [0; LABEL_BYTES_MAX],
            len: 0,
        }
    }

    /// A text in small letters; what is longer than a label is left out.
    fn new(text: &str) -> Self {
        let mut label = Self::empty();
        label.push(text);
        label.bytes.make_ascii_lowercase();
        label
    }

    /// An address, whose longest form has 39 letters.
    fn dashed(ip: IpAddr) -> Self {
        let mut label = Self::empty();
        match ip {
            IpAddr::V4(ip) => label.join(ip.octets().map(|octet| (octet.into(), 10))),
            IpAddr::V6(ip) => label.join(ip.segments().map(|segment| (segment, 16))),
        }
        label
    }

    /// Numbers by their bases, with dashes between them.
    fn join<const N: usize>(&mut self, numbers: [(u16, u16); N]) {
        for (place, (number, base)) in numbers.into_iter().enumerate() {
            if place > 0 {
                self.push("-");
            }
            // Nothing that is written here fails.
            let _written = match base {
                16 => fmt::write(self, format_args!("{number:x}")),
                _ => fmt::write(self, format_args!("{number}")),
            };
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, text: &str) {
        let end = self.len.saturating_add(text.len());
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(text.as_bytes());
            self.len = end;
        }
    }
}

impl fmt::Write for Label {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}
