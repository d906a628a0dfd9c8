//! What the upstream is told about the client.
//!
//! A client's own word on where it comes from is believed only if it is a trusted
//! proxy; then ours is added behind it. From others it is thrown away.
//!
//! Source: RFC 7239 (Forwarded), RFC 9110 section 7.6.3 (Via); X-Forwarded-* as
//! common proxies write them.

use std::net::{IpAddr, SocketAddr};

use portolan_model::http::{Fields, Known};
use portolan_policy::Exchange;
use portolan_runtime::Dice;
use smallvec::SmallVec;

use crate::connection::{Connection, is_trusted};

/// Times that a request may come by before it is taken to run in circles.
const ROUNDS_MAX: usize = 3;

/// Digits of a request's id.
const DIGITS: &[u8; 16] = b"0123456789abcdef";

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
    let mut digits = [0; 32];
    let number = u128::from(dice.u64()) << 64 | u128::from(dice.u64());
    for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
    out.push_str(std::str::from_utf8(&digits).unwrap_or_default());
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
pub(crate) fn announce(exchange: &mut Exchange, connection: &Connection, pseudonym: &str) {
    let Exchange {
        head, request_id, ..
    } = exchange;
    let fields = &mut head.fields;
    let before = connection.trusted.then(|| Before::of(fields));
    let via = joined(fields, Known::Via);
    fields.retain_known(|known| !REPLACED.contains(&known));
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
        let _added = fields.push_known(known, &parts);
    };
    let texts = &connection.texts;
    add(
        Known::XForwardedFor,
        before.forwarded_for.as_deref(),
        &[texts.peer()],
    );
    add(
        Known::XForwardedProto,
        None,
        &[before.proto.as_deref().unwrap_or(scheme)],
    );
    add(
        Known::XForwardedHost,
        None,
        &[before.host.as_deref().unwrap_or(authority)],
    );
    add(
        Known::XForwardedPort,
        None,
        &[before.port.as_deref().unwrap_or(texts.port())],
    );
    let element = [texts.forwarded(), authority, "\";proto=", scheme];
    add(Known::Forwarded, before.forwarded.as_deref(), &element);
    add(Known::XRequestId, None, &[request_id]);
    let hop = [head.version.as_str(), " ", pseudonym];
    add(Known::Via, via.as_deref(), &hop);
}

/// Fields that are ours to write, or that end here.
const REPLACED: [Known; 8] = [
    // Meant for us, the first proxy on the way (RFC 9110, section 11.7.2).
    Known::ProxyAuthorization,
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::Forwarded,
    Known::XRequestId,
    Known::Via,
];

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
