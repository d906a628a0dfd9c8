//! Each limit of the codec, reached and passed.

use super::*;
use crate::h1::chunked::EXTENSION_BYTES_MAX;
use crate::h1::hop::NOMINATIONS_MAX;

/// The cause of the refusal of a request, whole and when it trickles in.
fn cause(input: &str, limits: &HeadLimits) -> Option<Cause> {
    let whole = try_request(input.as_bytes(), limits)
        .err()
        .map(|refusal| refusal.cause);
    let mut head = RequestHead::default();
    let mut trickled = None;
    for cut in 1..=input.len() {
        let seen = &input.as_bytes()[..cut];
        if let Err(refusal) = parse_request(seen, limits, Scheme::Http, &mut head) {
            trickled = Some(refusal.cause);
            break;
        }
    }
    assert_eq!(whole, trickled);
    whole
}

fn response_cause(input: &str, limits: &HeadLimits) -> Option<Cause> {
    let read = try_response(input.as_bytes(), &Method::Get, limits);
    read.err().map(|refusal| refusal.cause)
}

const SMALL: HeadLimits = HeadLimits {
    head_bytes_max: 5000,
    fields_max: 4,
    target_bytes_max: 10,
};

#[test]
fn heads_are_bounded_in_bytes() {
    let sized = |start: &str, bytes: usize| {
        let filler = "x".repeat(bytes - start.len() - "X-A: \r\n\r\n".len());
        format!("{start}X-A: {filler}\r\n\r\n")
    };
    let request = |bytes| sized("GET / HTTP/1.1\r\nHost: a\r\n", bytes);
    assert_eq!(cause(&request(5000), &SMALL), None);
    assert_eq!(cause(&request(5001), &SMALL), Some(Cause::HeadTooLarge));
    let response = |bytes| sized("HTTP/1.1 200 OK\r\n", bytes);
    assert_eq!(response_cause(&response(5000), &SMALL), None);
    assert_eq!(
        response_cause(&response(5001), &SMALL),
        Some(Cause::ResponseHeadTooLarge)
    );
}

#[test]
fn an_endless_head_is_refused_at_its_limit() {
    let endless = format!("GET / HTTP/1.1\r\nX-A: {}", "x".repeat(6000));
    let mut head = RequestHead::default();
    let mut read = |bytes: usize| {
        let parsed = parse_request(
            &endless.as_bytes()[..bytes],
            &SMALL,
            Scheme::Http,
            &mut head,
        );
        parsed.map_err(|refusal| refusal.cause)
    };
    assert_eq!(read(4999), Ok(Parsed::Partial));
    assert_eq!(read(5000), Err(Cause::HeadTooLarge));
    let endless = format!("HTTP/1.1 200 OK\r\nX-A: {}", "x".repeat(6000));
    let mut head = ResponseHead::default();
    let mut read = |bytes: usize| {
        let parsed = parse_response(
            &endless.as_bytes()[..bytes],
            &SMALL,
            &Method::Get,
            &mut head,
        );
        parsed.map_err(|refusal| refusal.cause)
    };
    assert_eq!(read(4999), Ok(Parsed::Partial));
    assert_eq!(read(5000), Err(Cause::ResponseHeadTooLarge));
}

#[test]
fn heads_are_bounded_in_fields() {
    let with = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X-A: b\r\n".repeat(count - 1)
        )
    };
    assert_eq!(cause(&with(4), &SMALL), None);
    assert_eq!(cause(&with(5), &SMALL), Some(Cause::HeadTooLarge));
    let many = HeadLimits {
        fields_max: 300,
        ..HeadLimits::default()
    };
    assert_eq!(cause(&with(300), &many), None);
    assert_eq!(cause(&with(301), &many), Some(Cause::HeadTooLarge));
    let with = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: b\r\n".repeat(count));
    assert_eq!(response_cause(&with(4), &SMALL), None);
    assert_eq!(
        response_cause(&with(5), &SMALL),
        Some(Cause::ResponseHeadTooLarge)
    );
}

#[test]
fn targets_are_bounded() {
    let with = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1));
    assert_eq!(cause(&with(10), &SMALL), None);
    assert_eq!(cause(&with(11), &SMALL), Some(Cause::UriTooLong));
    assert_eq!(cause(&with(6000), &SMALL), Some(Cause::UriTooLong));
}

#[test]
fn methods_are_bounded() {
    let with = |bytes: usize| format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "X".repeat(bytes));
    assert_eq!(cause(&with(32), &SMALL), None);
    assert_eq!(cause(&with(33), &SMALL), Some(Cause::RequestMalformed));
}

#[test]
fn nominations_are_bounded() {
    let with = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close{}\r\n\r\n",
            ", x".repeat(count)
        )
    };
    assert_eq!(cause(&with(NOMINATIONS_MAX), &SMALL), None);
    assert_eq!(
        cause(&with(NOMINATIONS_MAX + 1), &SMALL),
        Some(Cause::RequestMalformed)
    );
}

fn body_cause(input: &str, limits: &HeadLimits) -> Option<Cause> {
    let mut decoder = BodyDecoder::new(Framing::Chunked, None, limits);
    decoder
        .decode(input.as_bytes())
        .err()
        .map(|refusal| refusal.cause)
}

#[test]
fn chunk_sizes_are_bounded() {
    assert_eq!(body_cause("00000000000000ff\r\n", &SMALL), None);
    assert_eq!(body_cause("ffffffffffffffff\r\n", &SMALL), None);
    assert_eq!(
        body_cause("000000000000000ff\r\n", &SMALL),
        Some(Cause::RequestMalformed)
    );
    // The sum of all chunks is bounded likewise.
    for (mut decoder, cause) in [
        (
            BodyDecoder::new(Framing::Chunked, None, &SMALL),
            Cause::BodyTooLarge,
        ),
        (
            BodyDecoder::of_response(Framing::Chunked, &SMALL),
            Cause::ResponseMalformed,
        ),
    ] {
        decoder.decode(b"1\r\na\r\n").unwrap();
        let refusal = decoder.decode(b"ffffffffffffffff\r\n").unwrap_err();
        assert_eq!(refusal.cause, cause);
    }
}

#[test]
fn chunk_extensions_are_bounded() {
    let with = |bytes: usize| format!("1;{}\r\na", "x".repeat(bytes - 1));
    let max = usize::from(EXTENSION_BYTES_MAX);
    assert_eq!(body_cause(&with(max), &SMALL), None);
    assert_eq!(
        body_cause(&with(max + 1), &SMALL),
        Some(Cause::RequestMalformed)
    );
    // The bound is that of one line.
    assert_eq!(
        body_cause(&format!("{}\r\n{}", with(max), with(max)), &SMALL),
        None
    );
    assert_eq!(
        body_cause(&format!("1{}", " ".repeat(max + 1)), &SMALL),
        Some(Cause::RequestMalformed)
    );
}

#[test]
fn trailers_are_bounded() {
    let fields = |count: usize| format!("0\r\n{}\r\n", "X-A: b\r\n".repeat(count));
    assert_eq!(body_cause(&fields(4), &SMALL), None);
    assert_eq!(body_cause(&fields(5), &SMALL), Some(Cause::HeadTooLarge));
    let sized = |bytes: usize| format!("0\r\nX-A: {}\r\n\r\n", "x".repeat(bytes - 9));
    assert_eq!(body_cause(&sized(5000), &SMALL), None);
    assert_eq!(body_cause(&sized(5001), &SMALL), Some(Cause::HeadTooLarge));
    // Also before the line is whole.
    assert_eq!(
        body_cause(&format!("0\r\n{}", "x".repeat(5001)), &SMALL),
        Some(Cause::HeadTooLarge)
    );
    let mut decoder = BodyDecoder::of_response(Framing::Chunked, &SMALL);
    let refusal = decoder.decode(fields(5).as_bytes()).unwrap_err();
    assert_eq!(refusal.cause, Cause::ResponseHeadTooLarge);
}
