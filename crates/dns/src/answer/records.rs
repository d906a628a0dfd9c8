//! The data of records, as bytes.

use std::net::IpAddr;

use portolan_model::{Instance, ServiceKey};

use crate::{
    settings::{Settings, Shape, Zone},
    wire::{Owner, is_name, put_labels},
    zone::{Member, Service, label_of},
};

/// Priority of SRV records: all are alike, the weight decides.
const PRIORITY: u16 = 1;
/// Text records of an instance in all.
const TEXT_BYTES_MAX: usize = 1300;
/// Where the target of an SRV record begins, from the start of a record whose owner is a
/// pointer: 2 + 10 before the data, 6 within.
pub(super) const SRV_TARGET: usize = 18;

/// Priority, weight and port.
pub(super) fn put_place(out: &mut Vec<u8>, member: &Member) {
    for value in [PRIORITY, member.weight, member.port] {
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Whether the name of a member, by [`put_target`], is one.
pub(super) fn has_target(zone: &Zone, service: Option<&Service>, member: &Member) -> bool {
    let Some(service) = service.filter(|_| zone.shape == Shape::Kubernetes) else {
        return true;
    };
    let label = label_of(service, member);
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
        let label = label_of(service, member);
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
    put_parameter(out, 1, |out| {
        for protocol in protocols {
            put_text(out, protocol.as_bytes());
        }
    });
    put_parameter(out, 3, |out| out.extend_from_slice(&port.to_be_bytes()));
    put_parameter(out, 4, |out| {
        for ip in addresses {
            if let IpAddr::V4(ip) = ip {
                out.extend_from_slice(&ip.octets());
            }
        }
    });
    put_parameter(out, 6, |out| {
        for ip in addresses {
            if let IpAddr::V6(ip) = ip {
                out.extend_from_slice(&ip.octets());
            }
        }
    });
}

/// A parameter with its number and length before it; nothing if it is empty.
fn put_parameter(out: &mut Vec<u8>, number: u16, value: impl FnOnce(&mut Vec<u8>)) {
    let mark = out.len();
    out.extend_from_slice(&number.to_be_bytes());
    put_with_length(out, value);
    if out.len() == mark.saturating_add(4) {
        out.truncate(mark);
    }
}

/// Writes something and, in two bytes before it, how long it is.
fn put_with_length(out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    value(out);
    let length = out.len().saturating_sub(at).saturating_sub(2);
    let length = u16::try_from(length).unwrap_or_default();
    if let Some(room) = out.get_mut(at..at.saturating_add(2)) {
        room.copy_from_slice(&length.to_be_bytes());
    }
}

/// What an instance says of itself, as RFC 6763 has it: at least one text (section 6.1). Keys of
/// our own fronts are left out, and what is beyond the limits.
pub(super) fn put_texts_of(out: &mut Vec<u8>, instance: &Instance) {
    let pairs = instance.metadata.iter();
    let own = pairs.filter(|(key, _)| {
        let is_printable = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'=';
        !key.is_empty() && key.bytes().all(is_printable) && !key.contains(['/', ':'])
    });
    let own = own.map(|(key, value)| (&**key, &**value));
    let version = instance
        .version
        .iter()
        .map(|version| ("version", &**version));
    let zone = instance.zone.iter().map(|zone| ("zone", &**zone));
    let length =
        |(key, value): &(&str, &str)| key.len().saturating_add(value.len()).saturating_add(1);
    let mark = out.len();
    let mut left = TEXT_BYTES_MAX;
    for pair in own.chain(version).chain(zone) {
        let Ok(bytes) = u8::try_from(length(&pair)) else {
            continue;
        };
        if usize::from(bytes) >= left {
            break;
        }
        left = left.saturating_sub(usize::from(bytes)).saturating_sub(1);
        out.push(bytes);
        for part in [pair.0, "=", pair.1] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    if out.len() == mark {
        out.push(0);
    }
}
