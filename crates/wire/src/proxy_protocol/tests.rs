//! Claims about PROXY headers.

use proptest::prelude::*;

use super::*;

fn complete(input: &[u8]) -> Header {
    match parse(input) {
        Ok(Parsed::Complete(header)) => header,
        other => panic!("{other:?} for {:?}", String::from_utf8_lossy(input)),
    }
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut header = v2::SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    header.extend(body);
    header
}

const V4: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 0x30, 0x39, 0x01, 0xbb];

fn v4_addresses() -> (SocketAddr, SocketAddr) {
    (
        "192.0.2.1:12345".parse().unwrap(),
        "192.0.2.2:443".parse().unwrap(),
    )
}

#[test]
fn text_headers_are_read() {
    let v6 = (
        "[2001:db8::1]:1".parse().unwrap(),
        "[2001:db8::2]:65535".parse().unwrap(),
    );
    for (line, addresses) in [
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2 12345 443\r\n",
            Some(v4_addresses()),
        ),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", Some(v6)),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff::1 what ever\r\n", None),
    ] {
        let header = complete(format!("{line}GET / HTTP/1.1\r\n").as_bytes());
        assert_eq!(
            header,
            Header {
                bytes: line.len(),
                addresses
            }
        );
    }
}

#[test]
fn malformed_text_headers_are_refused() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 12345 443\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 12345\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 12345 443 1\r\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 12345 443\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 12345 443 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 12345 65536\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 443\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 443\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 443\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 443\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 443\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 443\r\n",
        "PROXY TCP4 192.0.2.1\t192.0.2.2 1 443\r\n",
        "PROXY TCP4 \u{e4} 192.0.2.2 1 443\r\n",
    ] {
        let result = parse(line.as_bytes());
        assert!(
            matches!(result, Err(BadHeader::Malformed(_))),
            "{line:?}: {result:?}"
        );
    }
}

#[test]
fn text_headers_end_within_107_bytes() {
    let unknown = |bytes: usize| {
        let filler = "x".repeat(bytes - "PROXY UNKNOWN \r\n".len());
        format!("PROXY UNKNOWN {filler}\r\n").into_bytes()
    };
    assert_eq!(complete(&unknown(107)).bytes, 107);
    assert_eq!(parse(&unknown(108)), Err(BadHeader::TooLarge));
    assert_eq!(parse(&unknown(107)[..106]), Ok(Parsed::Partial));
    assert_eq!(
        parse(&[b"PROXY ".as_slice(), &[b'x'; 101]].concat()),
        Err(BadHeader::TooLarge)
    );
}

#[test]
fn binary_headers_are_read() {
    let v6: Vec<u8> = [[0; 15].as_slice(), &[1], &[0; 15], &[2], &[0, 80, 1, 187]].concat();
    let v6_addresses = ("[::1]:80".parse().unwrap(), "[::2]:443".parse().unwrap());
    for (header, addresses) in [
        (v2(0x21, 0x11, V4), Some(v4_addresses())),
        (v2(0x21, 0x12, V4), Some(v4_addresses())),
        (v2(0x21, 0x21, &v6), Some(v6_addresses)),
        (v2(0x20, 0x11, V4), None),
        (v2(0x20, 0x00, &[]), None),
        (v2(0x21, 0x00, b"what ever"), None),
        (v2(0x21, 0x31, &[0; 216]), None),
        (
            v2(0x21, 0x11, &[V4, &[0x02, 0, 1, b'a']].concat()),
            Some(v4_addresses()),
        ),
    ] {
        let bytes = header.len();
        let input = [header.as_slice(), b"GET"].concat();
        assert_eq!(complete(&input), Header { bytes, addresses }, "{input:?}");
        for cut in 0..bytes {
            assert_eq!(
                parse(&header[..cut]),
                Ok(Parsed::Partial),
                "{cut} of {header:?}"
            );
        }
    }
}

#[test]
fn malformed_binary_headers_are_refused() {
    for header in [
        v2(0x11, 0x11, V4),
        v2(0x22, 0x11, V4),
        v2(0x21, 0x13, V4),
        v2(0x21, 0x41, V4),
        v2(0x21, 0x10, V4),
        v2(0x21, 0x11, &V4[..11]),
        v2(0x21, 0x21, &[0; 35]),
        v2(0x21, 0x31, &[0; 215]),
        v2(0x21, 0x11, &[V4, &[2]].concat()),
        v2(0x21, 0x11, &[V4, &[2, 0, 2, 1]].concat()),
        v2(0x21, 0x11, &[V4, &[3, 0, 3, 1, 2, 3]].concat()),
    ] {
        let result = parse(&header);
        assert!(
            matches!(result, Err(BadHeader::Malformed(_))),
            "{header:?}: {result:?}"
        );
    }
}

#[test]
fn binary_headers_end_within_4_kib() {
    let filled = |bytes: usize| {
        let value = bytes - 16 - V4.len() - 3;
        let length = u16::try_from(value).unwrap().to_be_bytes();
        v2(0x21, 0x11, &[V4, &[4], &length, &vec![0; value]].concat())
    };
    assert_eq!(complete(&filled(V2_BYTES_MAX)).bytes, V2_BYTES_MAX);
    assert_eq!(
        parse(&filled(V2_BYTES_MAX + 1)[..16]),
        Err(BadHeader::TooLarge)
    );
}

#[test]
fn checksums_are_verified() {
    let tlvs = |sum: [u8; 4]| [V4, &[2, 0, 1, b'a', 3, 0, 4], &sum, &[4, 0, 1, 0]].concat();
    let sum = crc32c::crc32c(&[&v2(0x21, 0x11, &tlvs([0; 4]))]);
    let good = v2(0x21, 0x11, &tlvs(sum.to_be_bytes()));
    assert_eq!(complete(&good).addresses, Some(v4_addresses()));
    let bad = v2(0x21, 0x11, &tlvs((sum ^ 1).to_be_bytes()));
    assert_eq!(parse(&bad), Err(BadHeader::Checksum));
}

#[test]
fn other_protocols_have_no_header() {
    for input in [
        "GET / HTTP/1.1",
        "PRI * HTTP/2.0",
        "PUT / HTTP/1.1",
        "\r\nGET / HTTP/1.1",
        "\x16\x03",
    ] {
        assert_eq!(parse(input.as_bytes()), Err(BadHeader::Absent), "{input:?}");
    }
    for input in ["", "P", "PROXY", "\r\n\r\n"] {
        assert_eq!(parse(input.as_bytes()), Ok(Parsed::Partial), "{input:?}");
    }
}

#[test]
fn mixed_families_are_written_as_ipv6() {
    let (source, destination) = ("192.0.2.1:1".parse().unwrap(), "[::1]:2".parse().unwrap());
    let mapped = ("[::ffff:192.0.2.1]:1".parse().unwrap(), destination);
    for write in [write_v1, write_v2] {
        let mut out = Vec::new();
        write(&mut out, source, destination);
        assert_eq!(complete(&out).addresses, Some(mapped));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(v4 in any::<bool>(), a in any::<u128>(), b in any::<u128>(), ports in any::<(u16, u16)>()) {
        let ip = |bits: u128| -> IpAddr {
            if v4 {
                std::net::Ipv4Addr::from(u32::try_from(bits >> 96).unwrap()).into()
            } else {
                Ipv6Addr::from(bits).into()
            }
        };
        let (source, destination) = ((ip(a), ports.0).into(), (ip(b), ports.1).into());
        for write in [write_v1, write_v2] {
            let mut out = Vec::new();
            write(&mut out, source, destination);
            let expected = Header { bytes: out.len(), addresses: Some((source, destination)) };
            prop_assert_eq!(parse(&out), Ok(Parsed::Complete(expected)));
            for cut in 0..out.len() {
                prop_assert_eq!(parse(&out[..cut]), Ok(Parsed::Partial));
            }
        }
    }
}
