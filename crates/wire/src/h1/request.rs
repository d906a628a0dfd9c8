//! Reads the head of a request.

use std::mem::MaybeUninit;

use httparse::{Error, Header, Status};
use portolan_model::Cause;
use portolan_model::http::{BadTarget, Method, RequestHead, Scheme, Version, normalise_authority};

use super::hop::{Coding, Expectation, Hop};
use super::scan::{flaw, is_worth_scanning, sort_fields, with_room};
use super::{Framing, HeadLimits, Parsed, Persistence, Refusal, Sender};

/// The longest method that is read.
const METHOD_BYTES_MAX: usize = 32;

const CLIENT: Sender = Sender::Client;

/// What the head of a request says about its own connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// Bytes of the input that the head takes; the body begins behind them.
    pub head_bytes: usize,
    /// Where the body ends; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// Whether the client wants to keep the connection.
    pub persistence: Persistence,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// The protocol that the client offers to switch to, as in `Upgrade: websocket`.
    /// Offers of HTTP/2 are left out: it is entered by ALPN or prior knowledge.
    pub upgrade: Option<Box<str>>,
    /// Whether the client takes trailers.
    pub accepts_trailers: bool,
}

/// Reads the head of a request at the start of `input`.
///
/// `scheme` is that of the connection. `head` gets the end-to-end fields, its former
/// content goes; it holds nothing useful unless the head is complete.
///
/// # Errors
/// [`Refusal`] when the input can't become an acceptable head; the client's fault.
pub fn parse_request(
    input: &[u8],
    limits: &HeadLimits,
    scheme: Scheme,
    head: &mut RequestHead,
) -> Result<Parsed<RequestInfo>, Refusal> {
    head.clear();
    head.scheme = scheme;
    let Some((blank, input)) = skip_empty_line(input)? else {
        return Ok(Parsed::Partial);
    };
    if !is_worth_scanning(input) {
        return wait_for_more(input, limits);
    }
    let read = with_room(limits, |room| read_head(input, limits, head, room))?;
    let Some(mut info) = read else {
        return wait_for_more(input, limits);
    };
    info.head_bytes = info.head_bytes.saturating_add(blank);
    Ok(Parsed::Complete(info))
}

/// Skips the one empty line that may precede a request (RFC 9112, section 2.2).
fn skip_empty_line(input: &[u8]) -> Result<Option<(usize, &[u8])>, Refusal> {
    let (blank, rest) = match input {
        [b'\r', b'\n', rest @ ..] => (2, rest),
        [b'\r'] => return Ok(None),
        _ => (0, input),
    };
    match rest {
        [] => Ok(None),
        [b'\r' | b'\n', ..] => Err(CLIENT.malformed("empty lines where a request should be")),
        [0x16, ..] => Err(CLIENT.malformed("TLS where plain HTTP is spoken")),
        _ => Ok(Some((blank, rest))),
    }
}

/// Decides on a head whose end is not there yet.
fn wait_for_more<T>(input: &[u8], limits: &HeadLimits) -> Result<Parsed<T>, Refusal> {
    let line = input
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    if words
        .next()
        .is_some_and(|method| method.len() > METHOD_BYTES_MAX)
    {
        return Err(CLIENT.malformed("a method is too long"));
    }
    if words
        .next()
        .is_some_and(|target| target.len() > limits.target_bytes_max)
    {
        return Err(too_long());
    }
    // The head needs one more byte at least.
    if input.len() >= limits.head_bytes_max {
        return Err(CLIENT.too_large("a head is too large"));
    }
    Ok(Parsed::Partial)
}

const fn too_long() -> Refusal {
    Refusal {
        cause: Cause::UriTooLong,
        detail: "a request target is too long",
    }
}

fn read_head<'a>(
    input: &'a [u8],
    limits: &HeadLimits,
    head: &mut RequestHead,
    room: &mut [MaybeUninit<Header<'a>>],
) -> Result<Option<RequestInfo>, Refusal> {
    let mut request = httparse::Request::new(&mut []);
    let status = request.parse_with_uninit_headers(input, room);
    let head_bytes = match status {
        Ok(Status::Complete(bytes)) => bytes,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(refuse(input, error, limits)),
    };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Ok(None);
    };
    if target.len() > limits.target_bytes_max {
        return Err(too_long());
    }
    if head_bytes > limits.head_bytes_max {
        return Err(CLIENT.too_large("a head is too large"));
    }
    head.version = if minor == 0 {
        Version::Http10
    } else {
        Version::Http11
    };
    let lines = input.get(..head_bytes).unwrap_or_default();
    let hop = sort_fields(CLIENT, lines, request.headers, &mut head.fields)?;
    head.method = Method::parse(method).ok_or(CLIENT.malformed("a method is too long"))?;
    set_target(head, target, hop.host)?;
    inform(head, head_bytes, &hop).map(Some)
}

/// Tells apart the requests that the scanner does not read.
fn refuse(input: &[u8], error: Error, limits: &HeadLimits) -> Refusal {
    if let Err(refusal) = wait_for_more::<()>(input, limits) {
        // Too long is too long, whatever else it is.
        return refusal;
    }
    if error != Error::Version {
        return flaw(CLIENT, error);
    }
    if input.starts_with(b"PRI * HTTP/2") {
        return version("HTTP/2 where HTTP/1 is spoken");
    }
    let line = input
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let number = words.next().and_then(|word| word.strip_prefix(b"HTTP/"));
    let is_number = |number: &[u8]| {
        !number.is_empty()
            && number
                .iter()
                .all(|byte| byte.is_ascii_digit() || *byte == b'.')
    };
    if words.next().is_none() && number.is_some_and(is_number) {
        return version("a version of HTTP that is not spoken here");
    }
    flaw(CLIENT, error)
}

const fn version(detail: &'static str) -> Refusal {
    Refusal {
        cause: Cause::VersionUnsupported,
        detail,
    }
}

/// Finds authority and path in the request target and Host (RFC 9112, section 3.2).
fn set_target(head: &mut RequestHead, target: &str, host: Option<&[u8]>) -> Result<(), Refusal> {
    if head.method == Method::Connect {
        return Err(Refusal {
            cause: Cause::MethodUnsupported,
            detail: "CONNECT to a gateway",
        });
    }
    match host {
        Some(host) if normalise_authority(&mut head.authority, host) => {}
        Some(_) => return Err(CLIENT.malformed("Host is no authority")),
        None if head.version == Version::Http10 => {}
        None => return Err(CLIENT.malformed("no Host")),
    }
    let path = match target.as_bytes() {
        [b'/', ..] => target,
        b"*" if head.method == Method::Options => target,
        _ => set_absolute(head, target, host.is_some())?,
    };
    let set = match path.as_bytes() {
        [] if head.method == Method::Options => head.target.set(b"*"),
        [] => head.target.set(b"/"),
        // A query right behind the authority.
        [b'?', ..] => head.target.set(format!("/{path}").as_bytes()),
        _ => head.target.set_text(path),
    };
    set.map_err(|flaw| {
        CLIENT.malformed(match flaw {
            BadTarget::NotAPath => "a request target is no path",
            BadTarget::Character => "a request target has a forbidden character",
            BadTarget::Escape => "a request target has a broken escape",
            BadTarget::AboveRoot => "a request target climbs above its root",
        })
    })
}

/// Takes the authority of an absolute-form target, which must be the one in Host, and
/// returns path and query.
fn set_absolute<'a>(
    head: &mut RequestHead,
    target: &'a str,
    has_host: bool,
) -> Result<&'a str, Refusal> {
    let Some((scheme, rest)) = target.split_once("://") else {
        return Err(CLIENT.malformed("a request target is no path"));
    };
    if !scheme.eq_ignore_ascii_case(head.scheme.as_str()) {
        return Err(Refusal {
            cause: Cause::Misdirected,
            detail: "the scheme of the request target is not that of the connection",
        });
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let from = head.authority.len();
    if !normalise_authority(&mut head.authority, authority.as_bytes()) {
        return Err(CLIENT.malformed("the authority of the request target is malformed"));
    }
    let (in_host, in_target) = head.authority.split_at(from);
    if has_host && in_host != in_target {
        return Err(CLIENT.malformed("request target and Host name different authorities"));
    }
    head.authority.drain(..from);
    Ok(path)
}

fn inform(head: &RequestHead, head_bytes: usize, hop: &Hop<'_>) -> Result<RequestInfo, Refusal> {
    let framing = framing(head, hop)?;
    let has_body = !matches!(framing, Framing::None | Framing::Length(0));
    if has_body && head.method == Method::Trace {
        return Err(CLIENT.malformed("TRACE with a body"));
    }
    if hop.expectation == Expectation::Unknown {
        return Err(Refusal {
            cause: Cause::ExpectationFailed,
            detail: "an expectation other than 100-continue",
        });
    }
    let may_wait = has_body && head.version == Version::Http11;
    Ok(RequestInfo {
        head_bytes,
        framing,
        persistence: hop.persistence(head.version),
        expects_continue: may_wait && hop.expectation == Expectation::Continue,
        upgrade: hop.upgrade(head.version),
        accepts_trailers: hop.accepts_trailers && head.version == Version::Http11,
    })
}

fn framing(head: &RequestHead, hop: &Hop<'_>) -> Result<Framing, Refusal> {
    match (hop.coding, hop.content_length) {
        (Coding::Absent, None) => Ok(Framing::None),
        (Coding::Absent, Some(length)) => Ok(Framing::Length(length)),
        (_, Some(_)) => Err(CLIENT.malformed("both Content-Length and Transfer-Encoding")),
        (_, None) if head.version == Version::Http10 => {
            Err(CLIENT.malformed("Transfer-Encoding in HTTP/1.0"))
        }
        (Coding::Chunked, None) => Ok(Framing::Chunked),
        (Coding::Stacked, None) => Err(Refusal {
            cause: Cause::CodingUnsupported,
            detail: "a transfer coding other than chunked",
        }),
        (Coding::Endless | Coding::Broken, None) => {
            Err(CLIENT.malformed("chunked is not the one and last transfer coding"))
        }
    }
}
