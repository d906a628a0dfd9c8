//! Between our heads and the types of the `http` crate.
//!
//! The `h2` crate has refused connection-specific fields and bad pseudo-fields by
//! then; what HTTP/2 leaves to the recipient is checked here: one authority, a
//! canonical path, one length.
//!
//! Source: RFC 9113, section 8.

use http::{HeaderMap, HeaderValue, request, response};
use portolan_model::{
    Cause,
    http::{
        BadTarget, Fields, Known, Method, NAME_BYTES_MAX, RequestHead, ResponseHead, Scheme,
        Status, Version, normalise_authority,
    },
};

use super::names::name_of;
use crate::h1::{Framing, Refusal};

/// Why a request over HTTP/2 is refused.
pub type BadRequest = Refusal;

const fn refuse(detail: &'static str) -> Refusal {
    Refusal {
        cause: Cause::RequestMalformed,
        detail,
    }
}

/// Reads a request's head into `head`. The answer says where the body ends: nowhere, after a
/// declared length, or with the stream ([`Framing::Chunked`]).
///
/// # Errors
/// [`BadRequest`]: the client's fault.
pub fn read_request(
    parts: &request::Parts,
    has_body: bool,
    target_bytes_max: usize,
    head: &mut RequestHead,
) -> Result<Framing, BadRequest> {
    head.method = Method::parse(parts.method.as_str()).ok_or(refuse("the method is no token"))?;
    head.version = Version::Http2;
    head.scheme = match parts.uri.scheme_str() {
        Some("https") => Scheme::Https,
        Some(_) | None => Scheme::Http,
    };
    head.protocol = parts
        .extensions
        .get::<h2::ext::Protocol>()
        .map(|name| name.as_str().into());
    if head.method == Method::Connect && parts.uri.authority().is_none() {
        return Err(refuse("CONNECT without an authority"));
    }
    if head.method == Method::Connect && head.protocol.is_none() {
        return Err(Refusal {
            cause: Cause::MethodUnsupported,
            detail: "CONNECT without :protocol",
        });
    }
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    if target.len() > target_bytes_max {
        return Err(Refusal {
            cause: Cause::UriTooLong,
            detail: "the target is too long",
        });
    }
    head.target.set(target.as_bytes()).map_err(bad_target)?;
    read_authority(parts, head)?;
    let declared = read_fields(&parts.headers, &mut head.fields)?;
    join_cookies(&mut head.fields);
    Ok(match (declared, has_body) {
        (Some(length), true) => Framing::Length(length),
        (None, true) => Framing::Chunked,
        (Some(1..), false) => return Err(refuse("a length is declared and no body follows")),
        // A declared length of zero is passed on: some methods want to see it.
        (Some(0), false) => Framing::Length(0),
        (None, false) => Framing::None,
    })
}

fn bad_target(error: BadTarget) -> Refusal {
    refuse(match error {
        BadTarget::NotAPath => "the path does not begin with a slash",
        BadTarget::Character => "the path holds a forbidden character",
        BadTarget::Escape => "the path holds a broken escape",
        BadTarget::AboveRoot => "the path climbs above its root",
    })
}

fn read_authority(parts: &request::Parts, head: &mut RequestHead) -> Result<(), Refusal> {
    let mut hosts = parts.headers.get_all(http::header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(refuse("there are two Host fields"));
    }
    let named = parts.uri.authority().map(http::uri::Authority::as_str);
    let text = match (named, host) {
        (Some(named), _) => named.as_bytes(),
        (None, Some(host)) => host.as_bytes(),
        (None, None) => return Err(refuse("there is neither :authority nor Host")),
    };
    if !normalise_authority(&mut head.authority, text) {
        return Err(refuse("the authority is not one"));
    }
    if let Some(host) = host {
        let mut other = String::new();
        if !normalise_authority(&mut other, host.as_bytes()) || other != head.authority {
            return Err(refuse("Host differs from :authority"));
        }
    }
    Ok(())
}

/// Copies fields but Host, TE and Content-Length; the answer is the declared length.
fn read_fields(map: &HeaderMap, fields: &mut Fields) -> Result<Option<u64>, Refusal> {
    let mut declared = None;
    for (name, value) in map {
        if is_padded(value) {
            return Err(refuse("a field's value begins or ends with a blank"));
        }
        match *name {
            http::header::HOST | http::header::TE | http::header::EXPECT => {}
            http::header::CONTENT_LENGTH => {
                let length = parse_length(value.as_bytes()).ok_or(refuse("a bad length"))?;
                if declared.replace(length).is_some() {
                    return Err(refuse("there are two lengths"));
                }
            }
            _ => copy_field(name.as_str(), value.as_bytes(), fields)?,
        }
    }
    Ok(declared)
}

/// Copies a field. The types of the `http` crate admit the same characters in names and values
/// as we do, and longer names.
fn copy_field(name: &str, value: &[u8], fields: &mut Fields) -> Result<(), Refusal> {
    let bad = refuse("a field has a bad name or value");
    if name.len() > NAME_BYTES_MAX {
        return Err(bad);
    }
    fields.push_checked(name, value).map_err(|_| bad)
}

/// Blanks around a value, which HTTP/2 does not allow (RFC 9113, section 8.2.1).
fn is_padded(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_blank(bytes.first()) || is_blank(bytes.last())
}

fn parse_length(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// HTTP/2 may split cookies over several fields; elsewhere there is one (RFC 9113, 8.2.3).
fn join_cookies(fields: &mut Fields) {
    if fields.all_known(Known::Cookie).nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = fields.all_known(Known::Cookie).collect();
    let cookie = crumbs.join(&b"; "[..]);
    // Each crumb was a value, so the join is one.
    let _joined = fields.set("cookie", &cookie);
}

/// Reads the head of an instance's answer.
///
/// # Errors
/// [`Refusal`]: the instance's fault.
pub fn read_response(
    parts: &response::Parts,
    head: &mut ResponseHead,
) -> Result<Option<u64>, Refusal> {
    let malformed = |refusal: Refusal| Refusal {
        cause: Cause::ResponseMalformed,
        ..refusal
    };
    head.version = Version::Http2;
    head.status = Status::new(parts.status.as_u16()).ok_or(malformed(refuse("a bad status")))?;
    read_fields(&parts.headers, &mut head.fields).map_err(malformed)
}

/// Our head as a request for an HTTP/2 connection. `None` if it can't be said there.
#[must_use]
pub fn write_request(head: &RequestHead, length: Option<u64>) -> Option<http::Request<()>> {
    let mut request = http::Request::new(());
    *request.method_mut() = http::Method::from_bytes(head.method.as_str().as_bytes()).ok()?;
    *request.version_mut() = http::Version::HTTP_2;
    *request.uri_mut() = http::Uri::builder()
        .scheme(head.scheme.as_str())
        .authority(head.authority.as_str())
        .path_and_query(head.target.as_str())
        .build()
        .ok()?;
    let map = request.headers_mut();
    append(map, &head.fields);
    if let Some(length) = length {
        map.insert(http::header::CONTENT_LENGTH, length.into());
    }
    // gRPC servers refuse a request that does not say it understands trailers.
    map.insert(http::header::TE, HeaderValue::from_static("trailers"));
    if let Some(protocol) = head.protocol.as_deref() {
        request
            .extensions_mut()
            .insert(h2::ext::Protocol::from(protocol));
    }
    Some(request)
}

/// Our head as a response for an HTTP/2 connection.
#[must_use]
pub fn write_response(head: &ResponseHead, length: Option<u64>) -> http::Response<()> {
    let mut response = http::Response::new(());
    *response.status_mut() =
        http::StatusCode::from_u16(head.status.as_u16()).unwrap_or(http::StatusCode::BAD_GATEWAY);
    *response.version_mut() = http::Version::HTTP_2;
    append(response.headers_mut(), &head.fields);
    if let Some(length) = length {
        response
            .headers_mut()
            .insert(http::header::CONTENT_LENGTH, length.into());
    }
    response
}

fn append(map: &mut HeaderMap, fields: &Fields) {
    map.reserve(fields.len());
    for field in fields.iter() {
        let value = HeaderValue::from_bytes(field.value);
        if let (Some(name), Ok(value)) = (name_of(&field), value) {
            map.append(name, value);
        }
    }
}

/// Trailers as the `http` crate has them.
#[must_use]
pub fn map_from_fields(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::new();
    append(&mut map, fields);
    map
}

/// Trailers as we have them; what can't stand in a trailer is left out.
#[must_use]
pub fn fields_from_map(map: &HeaderMap) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in map {
        // A value of the `http` crate may end in blanks, which are no part of it.
        let _kept = fields.push(name.as_str(), value.as_bytes().trim_ascii());
    }
    fields
}
