//! What must hold for every input, as functions that panic when it does not.

use portolan_model::http::{Method, Version};
use portolan_wire::h1::Parsed;
use portolan_wire::h1::{
    BodyDecoder, CHUNK_TAIL, Framing, HeadLimits, Persistence, Wanted, write_chunk_head,
    write_last_chunk, write_request, write_response,
};
use portolan_wire::proxy_protocol;

mod cel;
mod config;
mod consul;
mod dns;
mod dns_others;
mod eureka;
mod ledger;
mod memory;
mod sources;

pub use cel::cel;
pub use config::config;
pub use consul::consul;
pub use dns::dns;
pub use dns_others::dns_others;
pub use eureka::eureka;
pub use ledger::ledger;
pub use memory::memory;
pub use sources::sources;

#[path = "../../crates/wire/tests/common/mod.rs"]
pub mod common;

use common::{Message, Outcome, read_body, read_request, read_response};

/// Small limits, so that inputs reach them.
const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 512,
    fields_max: 8,
    target_bytes_max: 64,
};

/// A request is the same whole and in pieces, and stays the same when it is forwarded.
///
/// # Panics
/// When it does not hold for `input`.
pub fn request_head(input: &[u8]) {
    let whole = read_request(input, &LIMITS, usize::MAX);
    for step in [1, 3, 64] {
        same(&whole, &read_request(input, &LIMITS, step));
    }
    let Outcome::Complete(message) = whole else {
        return;
    };
    let mut out = Vec::new();
    let wanted = match (&message.info.upgrade, message.info.persistence) {
        (Some(protocol), _) => Wanted::Upgrade(protocol),
        (None, Persistence::KeepAlive) => Wanted::KeepAlive,
        (None, Persistence::Close) => Wanted::Close,
    };
    let expects = message.info.expects_continue;
    write_request(
        &mut out,
        &message.head,
        message.info.framing,
        wanted,
        expects,
    );
    write_body(&mut out, &message);
    if message.head.authority.is_empty() {
        // HTTP/1.0 without Host: the gateway names one before it forwards.
        return;
    }
    let again = read_request(&out, &HeadLimits::default(), usize::MAX).complete();
    assert_eq!(
        again.bytes,
        out.len(),
        "the forwarded request ends elsewhere"
    );
    assert_eq!(again.head.method, message.head.method);
    assert_eq!(again.head.authority, message.head.authority);
    assert_eq!(again.head.target, message.head.target);
    assert_eq!(again.head.fields, message.head.fields);
    assert_eq!(again.info.upgrade, message.info.upgrade);
    assert_eq!(again.info.expects_continue, expects);
    assert_eq!(again.body, message.body);
    assert_eq!(again.trailers, message.trailers);
}

/// A response is the same whole and in pieces, and stays the same when it is forwarded.
///
/// # Panics
/// When it does not hold for `input`.
pub fn response_head(input: &[u8]) {
    for method in [Method::Get, Method::Head] {
        let whole = read_response(input, &method, &LIMITS, usize::MAX);
        for step in [1, 3, 64] {
            same(&whole, &read_response(input, &method, &LIMITS, step));
        }
        let Outcome::Complete(message) = whole else {
            continue;
        };
        let (framing, declared) = (message.info.framing, message.info.declared_length);
        let wanted = match message.info.persistence {
            Persistence::KeepAlive => Wanted::KeepAlive,
            Persistence::Close => Wanted::Close,
        };
        let mut out = Vec::new();
        write_response(
            &mut out,
            &message.head,
            framing,
            declared,
            wanted,
            Version::Http11,
        );
        write_body(&mut out, &message);
        let again = read_response(&out, &method, &HeadLimits::default(), usize::MAX).complete();
        assert_eq!(
            again.bytes,
            out.len(),
            "the forwarded response ends elsewhere"
        );
        assert_eq!(again.head.status, message.head.status);
        assert_eq!(again.head.fields, message.head.fields);
        assert_eq!(
            (again.info.framing, again.info.declared_length),
            (framing, declared)
        );
        assert_eq!(again.body, message.body);
        assert_eq!(again.trailers, message.trailers);
    }
}

/// A chunked body is the same whole and in pieces. The first byte bounds its size.
///
/// # Panics
/// When it does not hold for `input`.
pub fn body(input: &[u8]) {
    let [bound, input @ ..] = input else { return };
    let read = |step: usize| {
        let max = Some(u64::from(*bound));
        let decoder = BodyDecoder::new(Framing::Chunked, max, &LIMITS);
        let outcome = read_body(input, (0, 0), step, decoder);
        outcome.map(|(body, decoder, bytes)| (body, decoder.trailers().clone(), bytes))
    };
    let whole = read(usize::MAX);
    for step in [1, 2, 5, 64] {
        same(&whole, &read(step));
    }
    if let Outcome::Complete((body, _, bytes)) = whole {
        assert!(body.len() <= usize::from(*bound) && body.len() < bytes && bytes <= input.len());
    }
}

/// A PROXY header is refused, awaited or read alike at every cut, and survives being written.
///
/// # Panics
/// When it does not hold for `input`.
pub fn proxy_protocol(input: &[u8]) {
    let whole = proxy_protocol::parse(input);
    for cut in 0..input.len() {
        let part = proxy_protocol::parse(&input[..cut]);
        match (whole, part) {
            // More input cannot change an answer.
            (whole, part @ (Ok(Parsed::Complete(_)) | Err(_))) => assert_eq!(whole, part),
            (Ok(Parsed::Complete(header)), Ok(Parsed::Partial)) => assert!(cut < header.bytes),
            (Ok(Parsed::Partial) | Err(_), Ok(Parsed::Partial)) => {}
        }
    }
    let Ok(Parsed::Complete(header)) = whole else {
        return;
    };
    assert!(header.bytes <= input.len());
    let Some((source, destination)) = header.addresses else {
        return;
    };
    for write in [proxy_protocol::write_v1, proxy_protocol::write_v2] {
        let mut out = Vec::new();
        write(&mut out, source, destination);
        let expected = proxy_protocol::Header {
            bytes: out.len(),
            ..header
        };
        assert_eq!(proxy_protocol::parse(&out), Ok(Parsed::Complete(expected)));
    }
}

/// An acceptance must not depend on the cut. Which of several flaws is seen first may.
fn same<T: PartialEq + std::fmt::Debug>(whole: &Outcome<T>, pieces: &Outcome<T>) {
    match (whole, pieces) {
        (Outcome::Refused(_), Outcome::Refused(_)) => {}
        _ => assert_eq!(whole, pieces),
    }
}

fn write_body<H, I>(out: &mut Vec<u8>, message: &Message<H, I>)
where
    I: Framed,
{
    if message.info.framing() != Framing::Chunked {
        out.extend_from_slice(&message.body);
        return;
    }
    if !message.body.is_empty() {
        write_chunk_head(out, message.body.len());
        out.extend_from_slice(&message.body);
        out.extend_from_slice(CHUNK_TAIL);
    }
    write_last_chunk(out, &message.trailers);
}

trait Framed {
    fn framing(&self) -> Framing;
}

impl Framed for portolan_wire::h1::RequestInfo {
    fn framing(&self) -> Framing {
        self.framing
    }
}

impl Framed for portolan_wire::h1::ResponseInfo {
    fn framing(&self) -> Framing {
        self.framing
    }
}
