//! Addresses as names (RFC 1035 section 3.5, RFC 3596 section 2.5).

use std::{collections::BTreeSet, iter::once, net::IpAddr};

use portolan_model::ServiceKey;

use super::{kubernetes::label_of, records::service_labels};
use crate::{
    settings::{Shape, Zone},
    wire::{Name, Owner, is_name, put_labels},
    zone::{Key, Table},
};

/// The names in a zone, in wire form, of a service that has an instance at that address: of
/// its instances there in Kubernetes' shape, of the service itself in all others. What would
/// be too long for a name is left out.
pub(crate) fn names_of(table: &Table, zone: &Zone, key: &ServiceKey, ip: IpAddr) -> Vec<Vec<u8>> {
    let rest: Vec<&[u8]> = service_labels(zone, key).collect();
    let end = zone.name.as_wire();
    let name = |first: Option<&str>| {
        let labels = first.into_iter().map(str::as_bytes);
        let labels: Vec<_> = labels.chain(rest.iter().copied()).collect();
        is_name(labels.iter().copied(), end.len()).then(|| {
            let mut wire = Vec::new();
            put_labels(&mut wire, &labels, Owner::Name(end));
            wire
        })
    };
    if zone.shape != Shape::Kubernetes {
        return name(None).into_iter().collect();
    }
    let namespace = key.namespace.as_str().as_bytes();
    let Some(service) = table.find(&Key::new(once(key.name.as_str().as_bytes()), namespace)) else {
        return Vec::new();
    };
    let members = service.members().filter(|member| member.ip == ip);
    let hosts: BTreeSet<_> = members.map(|member| label_of(service, &member)).collect();
    hosts.iter().filter_map(|host| name(Some(host))).collect()
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
                *octet = digits.parse().ok()?;
                // One name for each address.
                if octet.to_string() != digits {
                    return None;
                }
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
            "256.3.2.1.in-addr.arpa",
            "4.3.2.1.in-addr.test",
            "arpa",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
