//! A head that is read, changed and written: what the codec and the fields do together.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, too, fail by panicking"
)]

use portolan_model::http::{Method, RequestHead, ResponseHead, Scheme, Version};
use portolan_wire::h1::{
    Framing, HeadLimits, Parsed, Wanted, parse_request, parse_response, write_interim,
    write_request, write_response,
};
use proptest::{collection::vec, prelude::*, sample::Index};

fn request(input: &str) -> RequestHead {
    let mut head = RequestHead::default();
    let limits = HeadLimits::default();
    match parse_request(input.as_bytes(), &limits, Scheme::Http, &mut head).unwrap() {
        Parsed::Complete(_) => head,
        Parsed::Partial => panic!("partial: {input:?}"),
    }
}

fn response(input: &[u8]) -> ResponseHead {
    let mut head = ResponseHead::default();
    match parse_response(input, &HeadLimits::default(), &Method::Get, &mut head).unwrap() {
        Parsed::Complete(_) => head,
        Parsed::Partial => panic!("partial: {input:?}"),
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[test]
fn what_was_read_is_written_with_one_blank_and_without_what_is_the_hops() {
    let mut head = request(
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B:2\r\nKeep-Alive: 5\r\nX-C:  3\r\n\
         X-D:\t4 \t\r\nX-E:\r\nX-F: \r\nContent-Length: 7\r\nx-G: a: b\r\n\
         Connection: x-b, keep-alive\r\nX-H: 8\r\n\r\n",
    );
    let lines = "X-A: 1\r\nX-C: 3\r\nX-D: 4\r\nX-E: \r\nX-F: \r\nx-G: a: b\r\nX-H: 8\r\n";
    let write = |head: &RequestHead| {
        let keep = Wanted::KeepAlive;
        let out = written(|out| write_request(out, head, Framing::None, keep, false));
        String::from_utf8(out).unwrap()
    };
    let start = "GET / HTTP/1.1\r\nhost: a\r\n";
    assert_eq!(write(&head), format!("{start}{lines}\r\n"));
    // A policy may do what it wants: the hop stays ours.
    head.fields.push("Transfer-Encoding", b"chunked").unwrap();
    head.fields.push("X-I", b"9").unwrap();
    assert_eq!(write(&head), format!("{start}{lines}X-I: 9\r\n\r\n"));
}

#[test]
fn values_that_are_no_text_are_written_as_read() {
    let head = response(b"HTTP/1.1 200 OK\r\nX-A: \x80\xff\r\nX-B:\xfe\r\n\r\n");
    let out = written(|out| write_interim(out, &head));
    assert_eq!(
        out,
        b"HTTP/1.1 200 OK\r\nX-A: \x80\xff\r\nX-B: \xfe\r\n\r\n"
    );
}

#[test]
fn heads_without_fields_are_read_and_written() {
    let head = response(b"HTTP/1.1 204 No Content\r\n\r\n");
    let (none, keep) = (Framing::None, Wanted::KeepAlive);
    let out = written(|out| write_response(out, &head, none, None, keep, Version::Http11));
    assert_eq!(out, b"HTTP/1.1 204 No Content\r\n\r\n");
    for bad in [
        "GET / HTTP/1.0\n\n",
        "GET / HTTP/1.0\n\r\n",
        "GET / HTTP/1.0\r\n\n",
    ] {
        let (mut head, limits) = (RequestHead::default(), HeadLimits::default());
        let read = parse_request(bad.as_bytes(), &limits, Scheme::Http, &mut head);
        assert!(read.is_err(), "{bad:?}");
    }
}

fn field() -> impl Strategy<Value = (String, String)> {
    (
        "x-[a-zA-Z0-9!#$%&'*+.^_`|~-]{0,12}",
        "([!-~][ -~\t]{0,20}[!-~])?",
    )
}

/// Blanks around a value, most often the one that is usual.
fn blanks() -> impl Strategy<Value = (&'static str, &'static str)> {
    let after = prop_oneof![3 => Just(""), 1 => Just(" "), 1 => Just("\t ")];
    let before = prop_oneof![3 => Just(" "), 1 => Just(""), 1 => Just("\t"), 1 => Just("  ")];
    (before, after)
}

proptest! {
    #[test]
    fn lines_of_any_form_are_forwarded_alike(
        list in vec((field(), blanks(), 0_usize..4), 0..12),
        removed in vec(any::<Index>(), 0..3),
    ) {
        const OURS: [&str; 4] = ["", "Keep-Alive: 5\r\n", "Connection: close\r\n", "Te: a\r\n"];
        let line = |name: &str, value: &str| format!("{name}:{value}\r\n");
        let came = list.iter().map(|((name, value), (before, after), ours)| {
            line(name, &[before, value.as_str(), after].concat()) + OURS[*ours]
        });
        let came = came.collect::<Vec<_>>().concat();
        let input = format!("HTTP/1.1 200 OK\r\n{came}Content-Length: 0\r\n\r\n");
        let mut head = response(input.as_bytes());
        let mut expected: Vec<_> = list.iter().map(|(field, ..)| field.clone()).collect();
        for index in removed.iter().filter(|_| !list.is_empty()) {
            let name = &index.get(&list).0.0;
            head.fields.remove(name);
            expected.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        }
        let out = written(|out| write_interim(out, &head));
        let lines = expected.iter().map(|(name, value)| line(name, &format!(" {value}")));
        let lines = lines.collect::<Vec<_>>().concat();
        prop_assert_eq!(String::from_utf8(out).unwrap(), format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
    }
}
