//! What the upstream is told about the client.
//!
//! A client's own word on where it comes from is believed only if it is a trusted
//! proxy; then ours is added behind it. From others it is thrown away.
//!
//! Source: RFC 7239 (Forwarded), RFC 9110 section 7.6.3 (Via); X-Forwarded-* as
//! common proxies write them.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

use portolan_model::http::{Fields, Known, RequestHead};
use portolan_runtime::Dice;

use crate::connection::{Connection, is_trusted};

/// Times that a request may come by before it is taken to run in circles.
const ROUNDS_MAX: usize = 3;

/// What was found out about a request's origin.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The client, as far as trusted proxies tell.
    pub(crate) client: SocketAddr,
    /// The request's id.
    pub(crate) request_id: String,
}

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

/// The request's id: a trusted proxy's, or a new one of 32 hexadecimal digits.
pub(crate) fn request_id(connection: &Connection, fields: &Fields, dice: &mut Dice) -> String {
    if connection.trusted
        && let Some(id) = fields.known(Known::XRequestId)
        && let Ok(id) = std::str::from_utf8(id)
        && (1..=128).contains(&id.len())
    {
        return id.to_owned();
    }
    format!("{:016x}{:016x}", dice.u64(), dice.u64())
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
pub(crate) fn announce(
    head: &mut RequestHead,
    connection: &Connection,
    origin: &Origin,
    pseudonym: &str,
) {
    let mut text = String::with_capacity(128);
    let fields = &mut head.fields;
    let replaced = [
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
    let before = connection.trusted.then(|| Before::of(fields));
    let via = joined(fields, Known::Via);
    fields.retain(|field| !replaced.contains(&field.known));
    let before = before.unwrap_or_default();
    let peer = connection.peer.ip();
    let scheme = connection.scheme.as_str();

    join(
        &mut text,
        before.forwarded_for.as_deref(),
        format_args!("{peer}"),
    );
    push(fields, "x-forwarded-for", &mut text);
    let _infallible = write!(text, "{}", before.proto.as_deref().unwrap_or(scheme));
    push(fields, "x-forwarded-proto", &mut text);
    let _infallible = write!(
        text,
        "{}",
        before.host.as_deref().unwrap_or(&head.authority)
    );
    push(fields, "x-forwarded-host", &mut text);
    match before.port.as_deref() {
        Some(port) => text.push_str(port),
        None => {
            let _infallible = write!(text, "{}", connection.local.port());
        }
    }
    push(fields, "x-forwarded-port", &mut text);
    let authority = &head.authority;
    let element = if peer.is_ipv6() {
        format_args!("for=\"[{peer}]\";host=\"{authority}\";proto={scheme}")
    } else {
        format_args!("for={peer};host=\"{authority}\";proto={scheme}")
    };
    join(&mut text, before.forwarded.as_deref(), element);
    push(fields, "forwarded", &mut text);
    text.push_str(&origin.request_id);
    push(fields, "x-request-id", &mut text);
    join(
        &mut text,
        via.as_deref(),
        format_args!("{} {pseudonym}", head.version.as_str()),
    );
    push(fields, "via", &mut text);
}

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

fn join(text: &mut String, before: Option<&str>, element: std::fmt::Arguments<'_>) {
    if let Some(before) = before {
        text.push_str(before);
        text.push_str(", ");
    }
    let _infallible = text.write_fmt(element);
}

fn push(fields: &mut Fields, name: &str, text: &mut String) {
    // What was joined were values, and what is added is an address, a name or a word.
    let _added = fields.push(name, text.as_bytes());
    text.clear();
}
