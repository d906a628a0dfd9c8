//! Addresses as names (RFC 1035 section 3.5, RFC 3596 section 2.5).

use std::net::IpAddr;

use crate::wire::Name;

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
