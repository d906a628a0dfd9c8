//! The data of records, as bytes.

use std::net::IpAddr;

use portolan_model::{Instance, ServiceKey};

use super::kubernetes;
use crate::{
    settings::{Settings, Shape, Zone},
    wire::{Owner, is_name, put_labels},
    zone::{Member, Service},
};

/// Priority of SRV records: all are alike, the weight decides.
const PRIORITY: u16 = 1;
/// Text records of an instance in all.
const TEXT_BYTES_MAX: usize = 1300;
/// Where the target of an SRV record begins, from the start of a record whose owner is a
/// pointer: 2 + 10 before the data, 6 within.
pub(super) const SRV_TARGET: usize = 18;

pub(super) fn put_server(out: &mut Vec<u8>, member: &Member) {
    for value in [PRIORITY, member.weight, member.port] {
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Whether the name of a member, by [`put_target`], is one.
pub(super) fn has_target(zone: &Zone, service: Option<&Service>, member: &Member) -> bool {
    let Some(service) = service.filter(|_| zone.shape == Shape::Kubernetes) else {
        return true;
    };
    let label = kubernetes::label_of(service, member);
    let labels = [label.as_bytes()].into_iter();
    is_name(
        labels.chain(service_labels(zone, &service.known.key)),
        zone.name.as_wire().len(),
    )
}

/// The labels of a service in a zone, without those of the zone.
pub(crate) fn service_labels<'k>(
    zone: &Zone,
    key: &'k ServiceKey,
) -> impl Iterator<Item = &'k [u8]> + Clone {
    let namespace = key.namespace.as_str();
    let rest: [&str; 3] = match zone.shape {
        Shape::Consul if namespace == ServiceKey::DEFAULT_NAMESPACE => ["service", "", ""],
        Shape::Consul => ["service", namespace, "ns"],
        Shape::Kubernetes => [namespace, "svc", ""],
        Shape::Plain => [namespace, "", ""],
    };
    let labels = key.name.as_str().split('.').chain(rest);
    let labels = labels.filter(|label| !label.is_empty());
    labels.map(str::as_bytes)
}

/// The name of a member, in full: targets are not compressed (RFC 2782).
pub(super) fn put_target(
    out: &mut Vec<u8>,
    (zone, settings): (&Zone, &Settings),
    service: Option<&Service>,
    member: &Member,
) {
    if let Some(service) = service.filter(|_| zone.shape == Shape::Kubernetes) {
        let label = kubernetes::label_of(service, member);
        put_labels(out, &[label.as_bytes()], Owner::Name(&[]));
        for label in service_labels(zone, &service.known.key) {
            put_labels(out, &[label], Owner::Name(&[]));
        }
        return put_labels(out, &[], Owner::Name(zone.name.as_wire()));
    }
    put_spelled(out, member.ip);
    put_address_zone(out, (zone, settings));
}

/// What follows an address that a label spells.
fn put_address_zone(out: &mut Vec<u8>, (zone, settings): (&Zone, &Settings)) {
    let labels: [&[u8]; 2] = [b"addr", &settings.datacenter];
    let labels = match zone.shape {
        Shape::Consul => &labels[..],
        Shape::Plain | Shape::Kubernetes => labels.get(..1).unwrap_or_default(),
    };
    put_labels(out, labels, Owner::Name(zone.name.as_wire()));
}

/// An address as the label that spells it.
fn put_spelled(out: &mut Vec<u8>, ip: IpAddr) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut put = |octets: &[u8]| {
        out.push(u8::try_from(octets.len().saturating_mul(2)).unwrap_or_default());
        for octet in octets {
            let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or_default();
            out.extend_from_slice(&[digit(octet >> 4), digit(octet & 0xf)]);
        }
    };
    match ip {
        IpAddr::V4(ip) => put(&ip.octets()),
        IpAddr::V6(ip) => put(&ip.octets()),
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let text = text.get(..255).unwrap_or(text);
    out.push(u8::try_from(text.len()).unwrap_or_default());
    out.extend_from_slice(text);
}

/// Priority, target and the parameters in the order of their numbers (RFC 9460, section 2.2).
pub(super) fn put_service_binding(
    out: &mut Vec<u8>,
    (zone, settings): (&Zone, &Settings),
    (port, protocols): (u16, &[&'static str]),
    addresses: &[IpAddr],
) {
    out.extend_from_slice(&1_u16.to_be_bytes());
    match addresses.first() {
        // A zone of Kubernetes' shape has no names that spell addresses.
        Some(ip) if zone.shape != Shape::Kubernetes => {
            put_spelled(out, *ip);
            put_address_zone(out, (zone, settings));
        }
        _ => out.push(0),
    }
    let mut parameter = |number: u16, value: &[u8]| {
        if !value.is_empty() {
            out.extend_from_slice(&number.to_be_bytes());
            let length = u16::try_from(value.len()).unwrap_or_default();
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(value);
        }
    };
    let mut names = Vec::new();
    for protocol in protocols {
        put_text(&mut names, protocol.as_bytes());
    }
    parameter(1, &names);
    parameter(3, &port.to_be_bytes());
    let (mut four, mut six) = (Vec::new(), Vec::new());
    for ip in addresses {
        match ip {
            IpAddr::V4(ip) => four.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => six.extend_from_slice(&ip.octets()),
        }
    }
    parameter(4, &four);
    parameter(6, &six);
}

/// What an instance says of itself, as RFC 6763 has it. Keys of our own fronts are left out.
pub(super) fn texts_of(instance: &Instance) -> Vec<String> {
    let pairs = instance.metadata.iter();
    let own = pairs.filter(|(key, _)| {
        let is_printable = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'=';
        !key.is_empty() && key.bytes().all(is_printable) && !key.contains(['/', ':'])
    });
    let version = instance
        .version
        .iter()
        .map(|version| format!("version={version}"));
    let zone = instance.zone.iter().map(|zone| format!("zone={zone}"));
    let texts = own.map(|(key, value)| format!("{key}={value}"));
    let mut left = TEXT_BYTES_MAX;
    texts
        .chain(version)
        .chain(zone)
        .filter(|text| text.len() <= 255)
        .take_while(|text| {
            let fits = text.len() < left;
            left = left.saturating_sub(text.len()).saturating_sub(1);
            fits
        })
        .collect()
}
