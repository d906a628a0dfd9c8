//! What the upstream is told about the client.
//!
//! A client's own word on where it comes from is believed only if it is a trusted
//! proxy; then ours is added behind it. From others it is thrown away.
//!
//! Source: RFC 7239 (Forwarded), RFC 9110 section 7.6.3 (Via); X-Forwarded-* as
//! common proxies write them.

use std::net::{IpAddr, SocketAddr};

use portolan_model::http::{FieldError, Fields, Known, KnownSet, Stencil};
use portolan_policy::Exchange;
use portolan_runtime::Dice;
use smallvec::SmallVec;

use crate::connection::{Connection, is_trusted};

/// Times that a request may come by before it is taken to run in circles.
const ROUNDS_MAX: usize = 3;

/// Who the client is: our peer, or whom a chain of trusted proxies names.
pub(crate) fn client_of(connection: &Connection, fields: &Fields) -> SocketAddr {
    if !connection.trusted {
        return connection.peer;
    }
    let mut client = connection.peer;
    let lines: Vec<&[u8]> = fields.all_known(Known::XForwardedFor).collect();
    let hops = lines
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(|byte| *byte == b','));
    for hop in hops {
        let Some(address) = parse_hop(hop) else { break };
        client = address;
        if !is_trusted(&connection.trusted_proxies, client.ip()) {
            break;
        }
    }
    client
}

fn parse_hop(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 0));
    }
    text.parse().ok()
}

/// Writes the request's id: a trusted proxy's, or a new one of 32 hexadecimal digits.
pub(crate) fn write_request_id(
    out: &mut String,
    connection: &Connection,
    fields: &Fields,
    dice: &mut Dice,
) {
    if connection.trusted
        && let Some(id) = fields.known(Known::XRequestId)
        && let Ok(id) = std::str::from_utf8(id)
        && (1..=128).contains(&id.len())
    {
        out.push_str(id);
        return;
    }
    let digits: [[u8; 16]; 2] = [dice.u64(), dice.u64()].map(hexadecimal);
    out.push_str(str::from_utf8(digits.as_flattened()).unwrap_or_default());
}

/// The 16 digits of a number, all at once: one in each byte of a word of twice the size.
fn hexadecimal(number: u64) -> [u8; 16] {
    const EACH: u128 = u128::from_ne_bytes([1; 16]);
    let mut word = u128::from(number);
    // Halves, quarters and so on move apart until each byte holds four bits.
    for (bits, mask) in [
        (32, 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff),
        (16, 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f),
    ] {
        word = (word | word << bits) & mask;
    }
    // Of ten and more, six more has the fifth bit.
    let letters = (word + 6 * EACH) >> 4 & EACH;
    (word + EACH * u128::from(b'0') + letters * u128::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// Whether the request has been here too often.
pub(crate) fn runs_in_circles(fields: &Fields, pseudonym: &str) -> bool {
    let lines = fields.all_known(Known::Via);
    let ours = lines.filter_map(|line| std::str::from_utf8(line).ok());
    ours.map(|line| line.matches(pseudonym).count())
        .sum::<usize>()
        >= ROUNDS_MAX
}

/// Writes what the upstream is told about the client and the way so far.
///
/// # Errors
/// [`FieldError::TooLarge`] when the head has no room for it: nobody may be sent on without.
pub(crate) fn announce(
    exchange: &mut Exchange,
    connection: &Connection,
    pseudonym: &str,
) -> Result<(), FieldError> {
    let fields = &mut exchange.head.fields;
    if fields.may_have(Known::Via) || connection.trusted {
        return announce_behind(exchange, connection, pseudonym);
    }
    fields.remove_known(REPLACED);
    let stencil = connection
        .announced
        .get_or_init(|| announced(connection, pseudonym));
    let authority = exchange.head.authority.as_bytes();
    let (id, version) = (&exchange.request_id, exchange.head.version.as_str());
    let gaps = [authority, authority, id.as_bytes(), version.as_bytes()];
    // What goes into the gaps is a name, an id of ours or a number.
    fields.push_stencil(stencil, &gaps)
}

/// What is told of each request of a connection if nothing was told before: with gaps for
/// authority, authority, id and version.
fn announced(connection: &Connection, pseudonym: &str) -> Stencil {
    let (texts, scheme) = (&connection.texts, connection.scheme.as_str());
    let element = [texts.forwarded()];
    let rest = ["\";proto=", scheme];
    Stencil::default()
        .with(Known::XForwardedFor, &[texts.peer()])
        .with(Known::XForwardedProto, &[scheme])
        .with_gap(Known::XForwardedHost, &[], &[])
        .with(Known::XForwardedPort, &[texts.port()])
        .with_gap(Known::Forwarded, &element, &rest)
        .with_gap(Known::XRequestId, &[], &[])
        .with_gap(Known::Via, &[], &[" ", pseudonym])
}

/// Writes the same behind what those before us have written.
fn announce_behind(
    exchange: &mut Exchange,
    connection: &Connection,
    pseudonym: &str,
) -> Result<(), FieldError> {
    let Exchange {
        head, request_id, ..
    } = exchange;
    let fields = &mut head.fields;
    let before = connection.trusted.then(|| Before::of(fields));
    let via = joined(fields, Known::Via);
    fields.remove_known(REPLACED);
    let before = before.unwrap_or_default();
    let authority = head.authority.as_str();
    let scheme = connection.scheme.as_str();
    let mut add = |known: Known, before: Option<&str>, value: &[&str]| {
        let mut parts = SmallVec::<[&[u8]; 6]>::new();
        if let Some(before) = before {
            parts.extend([before.as_bytes(), b", "]);
        }
        parts.extend(value.iter().map(|part| part.as_bytes()));
        // What was there were values, and what is added is an address, a name or a word.
        fields.push_known(known, &parts)
    };
    let texts = &connection.texts;
    add(
        Known::XForwardedFor,
        before.forwarded_for.as_deref(),
        &[texts.peer()],
    )?;
    add(
        Known::XForwardedProto,
        None,
        &[before.proto.as_deref().unwrap_or(scheme)],
    )?;
    add(
        Known::XForwardedHost,
        None,
        &[before.host.as_deref().unwrap_or(authority)],
    )?;
    add(
        Known::XForwardedPort,
        None,
        &[before.port.as_deref().unwrap_or(texts.port())],
    )?;
    let element = [texts.forwarded(), authority, "\";proto=", scheme];
    add(Known::Forwarded, before.forwarded.as_deref(), &element)?;
    add(Known::XRequestId, None, &[request_id])?;
    let hop = [head.version.as_str(), " ", pseudonym];
    add(Known::Via, via.as_deref(), &hop)
}

/// Fields that are ours to write, or that end here.
const REPLACED: KnownSet = KnownSet::of(&[
    // Meant for us, the first proxy on the way (RFC 9110, section 11.7.2).
    Known::ProxyAuthorization,
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::Forwarded,
    Known::XRequestId,
    Known::Via,
]);

/// What trusted proxies have said before.
#[derive(Debug, Default)]
struct Before {
    forwarded_for: Option<String>,
    forwarded: Option<String>,
    proto: Option<String>,
    host: Option<String>,
    port: Option<String>,
}

impl Before {
    fn of(fields: &Fields) -> Self {
        Self {
            forwarded_for: joined(fields, Known::XForwardedFor),
            forwarded: joined(fields, Known::Forwarded),
            proto: joined(fields, Known::XForwardedProto),
            host: joined(fields, Known::XForwardedHost),
            port: joined(fields, Known::XForwardedPort),
        }
    }
}

fn joined(fields: &Fields, known: Known) -> Option<String> {
    let mut values = fields
        .all_known(known)
        .filter_map(|value| std::str::from_utf8(value).ok());
    let mut text = values.next()?.to_owned();
    for value in values {
        text.push_str(", ");
        text.push_str(value);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::{cell::OnceCell, path::Path, sync::Arc};

    use portolan_config::{Outside, Shelves, read};
    use portolan_model::http::{Scheme, Version};

    use super::*;
    use crate::connection::Texts;

    fn connection(peer: &str, scheme: Scheme) -> Connection {
        let outside = Outside {
            shelves: Shelves {
                policies: &[],
                sources: &[],
                balancers: portolan_balance::KINDS,
            },
            folder: Path::new(""),
            ..Outside::default()
        };
        let settings = "listeners: {web: {address: '127.0.0.1:0'}}";
        let plan = read("test.yaml", settings, &outside).unwrap();
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        let local = "127.0.0.1:8080".parse().unwrap();
        Connection {
            listener: plan.listeners[0].clone().into(),
            peer,
            local,
            trusted: false,
            scheme,
            tls: None,
            trusted_proxies: Arc::default(),
            texts: Texts::new(peer.ip(), local),
            announced: OnceCell::new(),
        }
    }

    fn exchange(version: Version, authority: &str, fields: &[(&str, &str)]) -> Exchange {
        let mut exchange = Exchange::new(IpAddr::from([10, 0, 0, 7]));
        exchange.head.version = version;
        exchange.head.authority.push_str(authority);
        exchange.request_id.push_str("id-1");
        for (name, value) in fields {
            exchange.head.fields.push(name, value.as_bytes()).unwrap();
        }
        exchange
    }

    #[test]
    fn what_is_told_first_is_what_is_told_behind_nothing() {
        let claimed = [
            ("X-A", "1"),
            ("x-forwarded-for", "10.6.6.6"),
            ("Forwarded", "for=10.6.6.6"),
            ("X-Forwarded-Host", "evil"),
            ("Proxy-Authorization", "Basic eDp5"),
        ];
        for (peer, scheme) in [("10.0.0.7", Scheme::Http), ("2001:db8::7", Scheme::Https)] {
            let connection = connection(peer, scheme);
            for (version, authority) in [
                (Version::Http11, "shop.example:81"),
                (Version::Http10, ""),
                (Version::Http2, "[::1]:8080"),
                (Version::Http11, "a"),
            ] {
                let mut first = exchange(version, authority, &claimed);
                announce(&mut first, &connection, "us").unwrap();
                let mut behind = exchange(version, authority, &claimed);
                announce_behind(&mut behind, &connection, "us").unwrap();
                assert_eq!(first.head, behind.head);
                let (mut written, mut expected) = (Vec::new(), Vec::new());
                first.head.fields.write(&mut written, KnownSet::default());
                behind.head.fields.write(&mut expected, KnownSet::default());
                assert_eq!(written, expected);
                assert!(!String::from_utf8(written).unwrap().contains("6.6.6"));
            }
        }
    }

    #[test]
    fn who_went_before_is_told_in_via() {
        let connection = connection("10.0.0.7", Scheme::Http);
        let mut exchange = exchange(Version::Http11, "a", &[("Via", "1.0 x"), ("via", "2 y")]);
        announce(&mut exchange, &connection, "us").unwrap();
        let via: Vec<_> = exchange.head.fields.all_known(Known::Via).collect();
        assert_eq!(via, [b"1.0 x, 2 y, 1.1 us"]);
    }

    #[test]
    fn nobody_is_sent_on_without_being_announced() {
        let connection = connection("10.0.0.7", Scheme::Http);
        let large = "v".repeat((16 << 20) - 60);
        for via in [&[][..], &[("Via", "1.0 x")]] {
            let mut exchange = exchange(Version::Http11, "a", via);
            exchange.head.fields.push("X", large.as_bytes()).unwrap();
            let told = announce(&mut exchange, &connection, "us");
            assert_eq!(told, Err(FieldError::TooLarge));
        }
    }

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [
            0,
            u64::MAX,
            0x0123_4567_89ab_cdef,
            0xfedc_ba98_7654_3210,
            9,
            10 << 60,
        ] {
            let digits = hexadecimal(number);
            assert_eq!(str::from_utf8(&digits).unwrap(), format!("{number:016x}"));
        }
    }
}
