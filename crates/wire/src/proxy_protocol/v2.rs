//! Version 2: binary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::crc32c;
use super::{BadHeader, Header, V2_BYTES_MAX, mapped};
use crate::h1::Parsed;

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const PREFIX_BYTES: usize = 16;

/// The TLV that holds a `CRC32c` over the header, itself taken as zero (section 2.2.3).
const TYPE_CHECKSUM: u8 = 0x03;

/// Reads a header of version 2, whose signature `input` begins with.
pub(super) fn parse(input: &[u8]) -> Result<Parsed<Header>, BadHeader> {
    let Some([command, family, high, low]) = input.get(SIGNATURE.len()..PREFIX_BYTES) else {
        return Ok(Parsed::Partial);
    };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(BadHeader::Malformed("an unknown version or command")),
    };
    let bytes = usize::from(u16::from_be_bytes([*high, *low])).saturating_add(PREFIX_BYTES);
    if bytes > V2_BYTES_MAX {
        return Err(BadHeader::TooLarge);
    }
    let (Some(header), Some(body)) = (input.get(..bytes), input.get(PREFIX_BYTES..bytes)) else {
        return Ok(Parsed::Partial);
    };
    let (addresses, values) = addresses(*family, body)?;
    // Of a family that has no addresses, the rest is not known to be TLVs.
    if *family != 0 {
        check_values(header, values)?;
    }
    Ok(Parsed::Complete(Header {
        bytes,
        addresses: addresses.filter(|_| !is_local),
    }))
}

type Addresses = Option<(SocketAddr, SocketAddr)>;

/// Splits what follows the prefix into addresses and TLVs.
fn addresses(family: u8, body: &[u8]) -> Result<(Addresses, &[u8]), BadHeader> {
    const SHORT: BadHeader = BadHeader::Malformed("the addresses are cut short");
    match family {
        0x00 => Ok((None, body)),
        0x11 | 0x12 => {
            let (source, rest) = body.split_first_chunk::<4>().ok_or(SHORT)?;
            let (destination, rest) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
            let (ports, values) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
            let (source, destination) = (Ipv4Addr::from(*source), Ipv4Addr::from(*destination));
            Ok((
                Some(with_ports(source.into(), destination.into(), *ports)),
                values,
            ))
        }
        0x21 | 0x22 => {
            let (source, rest) = body.split_first_chunk::<16>().ok_or(SHORT)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
            let (ports, values) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
            let (source, destination) = (Ipv6Addr::from(*source), Ipv6Addr::from(*destination));
            Ok((
                Some(with_ports(source.into(), destination.into(), *ports)),
                values,
            ))
        }
        // Unix sockets: two paths of 108 bytes.
        0x31 | 0x32 => {
            let (_, values) = body.split_first_chunk::<216>().ok_or(SHORT)?;
            Ok((None, values))
        }
        _ => Err(BadHeader::Malformed("an unknown family")),
    }
}

fn with_ports(source: IpAddr, destination: IpAddr, ports: [u8; 4]) -> (SocketAddr, SocketAddr) {
    let [a, b, c, d] = ports;
    let (from, to) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    (
        SocketAddr::new(source, from),
        SocketAddr::new(destination, to),
    )
}

/// Walks the TLVs to their exact end and verifies a checksum among them.
fn check_values(header: &[u8], mut values: &[u8]) -> Result<(), BadHeader> {
    const SHORT: BadHeader = BadHeader::Malformed("a TLV is cut short");
    while let [kind, rest @ ..] = values {
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(SHORT)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, rest) = rest.split_at_checked(length).ok_or(SHORT)?;
        if *kind == TYPE_CHECKSUM {
            let stated = <[u8; 4]>::try_from(value).map_err(|_| SHORT)?;
            let after = value.len().saturating_add(rest.len());
            let before = header.len().saturating_sub(after);
            let computed = crc32c(&[header.get(..before).unwrap_or_default(), &[0; 4], rest]);
            if computed != u32::from_be_bytes(stated) {
                return Err(BadHeader::Checksum);
            }
        }
        values = rest;
    }
    Ok(())
}

/// Writes a header of version 2.
pub fn write_v2(out: &mut Vec<u8>, source: SocketAddr, destination: SocketAddr) {
    out.extend_from_slice(SIGNATURE);
    out.push(0x21);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend_from_slice(&[0x11, 0, 12]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        (source, destination) => {
            out.extend_from_slice(&[0x21, 0, 36]);
            out.extend_from_slice(&mapped(source).octets());
            out.extend_from_slice(&mapped(destination).octets());
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
}
