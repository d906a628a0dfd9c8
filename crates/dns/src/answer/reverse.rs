//! Addresses as names (RFC 1035 section 3.5, RFC 3596 section 2.5).

use std::net::IpAddr;

use super::records::service_labels;
use crate::{
    settings::{Shape, Zone},
    wire::{Message, Name, Owner, is_name, kind, put_labels},
    zone::Service,
};

/// Writes the names in a zone of a service that has an instance at that address: of its
/// instances there in Kubernetes' shape, of the service itself in all others. What would be too
/// long for a name is left out.
pub(crate) fn put_names(message: &mut Message<'_>, zone: &Zone, service: &Service, ip: IpAddr) {
    if zone.shape != Shape::Kubernetes {
        return put_name(message, zone, service, None);
    }
    for host in service.names_of(ip) {
        put_name(message, zone, service, Some(host.as_bytes()));
    }
}

fn put_name(message: &mut Message<'_>, zone: &Zone, service: &Service, host: Option<&[u8]>) {
    let labels = host
        .into_iter()
        .chain(service_labels(zone, &service.known.key));
    let end = zone.name.as_wire();
    if !is_name(labels.clone(), end.len()) {
        return;
    }
    message.record(Owner::Question(0), kind::PTR, service.ttl(), |out| {
        for label in labels {
            put_labels(out, &[label], Owner::Name(&[]));
        }
        put_labels(out, &[], Owner::Name(end));
    });
}

/// The address that a name spells, if it spells a whole one.
pub(super) fn address(name: &Name) -> Option<IpAddr> {
    let count = name.labels();
    let zone = count.checked_sub(2)?;
    if name.label(zone.saturating_add(1)) != b"arpa" {
        return None;
    }
    let text = |at: usize| std::str::from_utf8(name.label(at)).ok();
    match (zone, name.label(zone)) {
        (4, b"in-addr") => {
            let mut octets = [0_u8; 4];
            for (at, octet) in octets.iter_mut().rev().enumerate() {
                let digits = text(at)?;
                // One name for each address: no zeros before, no sign.
                let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit())
                    && (digits.len() == 1 || !digits.starts_with('0'));
                *octet = digits.parse().ok().filter(|_| is_plain)?;
            }
            Some(IpAddr::from(octets))
        }
        (32, b"ip6") => {
            let mut number = 0_u128;
            for at in (0..32).rev() {
                let digit = text(at).filter(|digit| digit.len() == 1)?;
                let digit = u128::from_str_radix(digit, 16).ok()?;
                number = number << 4 | digit;
            }
            Some(IpAddr::from(number.to_be_bytes()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_names_spell_addresses() {
        let of = |text: &str| address(&Name::of_text(text).unwrap());
        assert_eq!(of("4.3.2.1.in-addr.arpa"), "1.2.3.4".parse().ok());
        let six = "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(of(six), "2001:db8::567:89ab".parse().ok());
        for none in [
            "3.2.1.in-addr.arpa",
            "5.4.3.2.1.in-addr.arpa",
            "04.3.2.1.in-addr.arpa",
            "+4.3.2.1.in-addr.arpa",
            "256.3.2.1.in-addr.arpa",
            "4.3.2.1.in-addr.test",
            "arpa",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
