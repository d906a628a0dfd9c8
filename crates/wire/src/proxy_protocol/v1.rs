//! Version 1: one line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{BadHeader, Header, V1_BYTES_MAX, mapped};
use crate::h1::Parsed;

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// Reads a header of version 1, which `input` begins with.
pub(super) fn parse(input: &[u8]) -> Result<Parsed<Header>, BadHeader> {
    let window = input.get(..V1_BYTES_MAX).unwrap_or(input);
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if input.len() < V1_BYTES_MAX {
            Ok(Parsed::Partial)
        } else {
            Err(BadHeader::TooLarge)
        };
    };
    let line = window
        .get(SIGNATURE.len()..end)
        .and_then(|line| line.strip_suffix(b"\r"))
        .ok_or(BadHeader::Malformed("the line does not end in CRLF"))?;
    let line = std::str::from_utf8(line).map_err(|_| BadHeader::Malformed("not ASCII"))?;
    Ok(Parsed::Complete(Header {
        bytes: end.saturating_add(1),
        addresses: addresses(line)?,
    }))
}

fn addresses(line: &str) -> Result<Option<(SocketAddr, SocketAddr)>, BadHeader> {
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Ok(None);
    }
    let mut word = || {
        words
            .next()
            .ok_or(BadHeader::Malformed("an address is missing"))
    };
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (word()?, word()?);
    if words.next().is_some() {
        return Err(BadHeader::Malformed("something follows the addresses"));
    }
    let (source_port, destination_port) = (port(source_port)?, port(destination_port)?);
    match family {
        "TCP4" => Ok(Some((
            (address::<Ipv4Addr>(source)?, source_port).into(),
            (address::<Ipv4Addr>(destination)?, destination_port).into(),
        ))),
        "TCP6" => Ok(Some((
            (address::<Ipv6Addr>(source)?, source_port).into(),
            (address::<Ipv6Addr>(destination)?, destination_port).into(),
        ))),
        _ => Err(BadHeader::Malformed("an unknown family")),
    }
}

fn address<A: FromStr>(text: &str) -> Result<A, BadHeader> {
    text.parse()
        .map_err(|_| BadHeader::Malformed("an address is malformed"))
}

/// Digits only, no leading zero.
fn port(text: &str) -> Result<u16, BadHeader> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    text.parse()
        .ok()
        .filter(|_| digits && !leading_zero)
        .ok_or(BadHeader::Malformed("a port is malformed"))
}

/// Writes a header of version 1.
pub fn write_v1(out: &mut Vec<u8>, source: SocketAddr, destination: SocketAddr) {
    let ports = format!("{} {}", source.port(), destination.port());
    let line = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            format!("PROXY TCP4 {source} {destination} {ports}\r\n")
        }
        (source, destination) => {
            let (source, destination) = (mapped(source), mapped(destination));
            format!("PROXY TCP6 {source} {destination} {ports}\r\n")
        }
    };
    out.extend_from_slice(line.as_bytes());
}
