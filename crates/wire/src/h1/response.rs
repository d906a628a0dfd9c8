//! Reads the head of a response.

use std::mem::MaybeUninit;

use httparse::{Error, Header};
use portolan_model::http::{Method, ResponseHead, Status, Version};

use super::hop::{Coding, Hop};
use super::scan::{flaw, is_worth_scanning, sort_fields, with_room};
use super::{Framing, HeadLimits, Parsed, Persistence, Refusal, Sender};

const UPSTREAM: Sender = Sender::Upstream;

/// What the head of a response says about its own connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseInfo {
    /// Bytes of the input that the head takes; the body begins behind them.
    pub head_bytes: usize,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the connection may be used again.
    pub persistence: Persistence,
    /// `Content-Length` as sent, also where no body follows (HEAD, 304); never with a
    /// status that may not have one (1xx, 204).
    pub declared_length: Option<u64>,
    /// The protocol that a 101 switches to.
    pub upgrade: Option<Box<str>>,
}

/// Reads the head of a response at the start of `input`.
///
/// `head` gets the end-to-end fields, its former content goes; it holds nothing useful
/// unless the head is complete. The reason phrase is dropped.
///
/// # Errors
/// [`Refusal`] when the input can't become an acceptable head; the upstream's fault.
pub fn parse_response(
    input: &[u8],
    limits: &HeadLimits,
    request_method: &Method,
    head: &mut ResponseHead,
) -> Result<Parsed<ResponseInfo>, Refusal> {
    head.clear();
    match input {
        [] => return Ok(Parsed::Partial),
        [b'H', ..] => {}
        _ => return Err(UPSTREAM.malformed("a response does not begin with HTTP")),
    }
    let read = if is_worth_scanning(input) {
        with_room(limits, |room| read_head(input, request_method, head, room))?
    } else {
        None
    };
    match read {
        Some(info) if info.head_bytes <= limits.head_bytes_max => Ok(Parsed::Complete(info)),
        None if input.len() < limits.head_bytes_max => Ok(Parsed::Partial),
        Some(_) | None => Err(UPSTREAM.too_large("a head is too large")),
    }
}

fn read_head<'a>(
    input: &'a [u8],
    request_method: &Method,
    head: &mut ResponseHead,
    room: &mut [MaybeUninit<Header<'a>>],
) -> Result<Option<ResponseInfo>, Refusal> {
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, input, room)
        .map_err(|error| flaw(UPSTREAM, error))?;
    let (httparse::Status::Complete(head_bytes), Some(code), Some(minor)) =
        (parsed, response.code, response.version)
    else {
        return Ok(None);
    };
    head.version = if minor == 0 {
        Version::Http10
    } else {
        Version::Http11
    };
    head.status = Status::new(code).ok_or(flaw(UPSTREAM, Error::Status))?;
    let lines = input.get(..head_bytes).unwrap_or_default();
    let hop = sort_fields(UPSTREAM, lines, response.headers, &mut head.fields)?;
    inform(head, head_bytes, request_method, &hop).map(Some)
}

fn inform(
    head: &ResponseHead,
    head_bytes: usize,
    request_method: &Method,
    hop: &Hop<'_>,
) -> Result<ResponseInfo, Refusal> {
    let (status, version) = (head.status, head.version);
    let sent = sent_framing(head, hop)?;
    let mut framing = sent;
    let mut persistence = hop.persistence(version);
    let mut declared_length = hop.content_length;
    if status.class() == 1 || status.as_u16() == 204 {
        declared_length = None;
        framing = Framing::None;
        if !matches!(sent, Framing::UntilClose | Framing::Length(0)) {
            // Behind a 1xx, the final response would be looked for inside that body.
            if status.class() == 1 {
                return Err(UPSTREAM.malformed("a 1xx response with a body"));
            }
            // Servers do this by mistake. What follows is not the next response.
            persistence = Persistence::Close;
        }
    } else if status.as_u16() == 304 || *request_method == Method::Head {
        framing = Framing::None;
    } else if sent == Framing::UntilClose {
        persistence = Persistence::Close;
    }
    let upgrade = (status == Status::SWITCHING_PROTOCOLS)
        .then(|| hop.upgrade(version))
        .flatten();
    Ok(ResponseInfo {
        head_bytes,
        framing,
        persistence,
        declared_length,
        upgrade,
    })
}

/// The framing that the fields declare, whether or not a body follows.
fn sent_framing(head: &ResponseHead, hop: &Hop<'_>) -> Result<Framing, Refusal> {
    match (hop.coding, hop.content_length) {
        (Coding::Absent, None) => Ok(Framing::UntilClose),
        (Coding::Absent, Some(length)) => Ok(Framing::Length(length)),
        (_, Some(_)) => Err(UPSTREAM.malformed("both Content-Length and Transfer-Encoding")),
        (_, None) if head.version == Version::Http10 => {
            Err(UPSTREAM.malformed("Transfer-Encoding in HTTP/1.0"))
        }
        (Coding::Chunked, None) => Ok(Framing::Chunked),
        (Coding::Stacked | Coding::Endless | Coding::Broken, None) => {
            Err(UPSTREAM.malformed("a transfer coding other than chunked"))
        }
    }
}
