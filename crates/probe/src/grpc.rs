//! A probe by `grpc.health.v1.Health/Check`.
//!
//! The two messages are one text and one number, so they are written and read here:
//! `HealthCheckRequest {string service = 1}`, `HealthCheckResponse {ServingStatus status
//! = 1}`. Source: the gRPC health checking protocol.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header::CONTENT_TYPE};
use portolan_model::route::{Place, UpstreamTls};

use super::{
    Failed, Outcome, Reach,
    connect::drive,
    cut,
    h2::{Http2, open, words},
};

const METHOD: &str = "/grpc.health.v1.Health/Check";
/// Largest answer; a good one has two bytes after its prefix of five.
const ANSWER_BYTES_MAX: usize = 4 << 10;
/// A message's prefix: one byte that says whether it is compressed, four for its length.
const PREFIX_BYTES: usize = 5;
/// Most of a server's words that are passed on.
const WORDS_BYTES_MAX: usize = 200;

pub(super) async fn probe(
    reach: &Reach,
    place: (&Place, SocketAddr),
    service: &str,
    tls: Option<&UpstreamTls>,
) -> Result<Outcome, Failed> {
    let Http2 {
        send,
        connection,
        address,
    } = open(reach, place, tls).await?;
    let authority = match place.0 {
        Place::Host(host) => format!("{}:{}", host.host, host.port),
        Place::Home | Place::Port(_) | Place::Address(_) => address.to_string(),
    };
    let request = request(&authority, tls.is_some())?;
    let message = message(service);
    let asking = async {
        let mut ready = send.ready().await.map_err(|error| words(&error))?;
        let asked = ready.send_request(request, false);
        let (answer, mut body) = asked.map_err(|error| words(&error))?;
        let asked = body.send_data(message, true);
        asked.map_err(|error| words(&error))?;
        let answer = answer.await.map_err(|error| words(&error))?;
        if answer.status() != 200 {
            return Err(format!("status {}", answer.status().as_u16()).into());
        }
        let (head, body) = answer.into_parts();
        // An answer without a message has everything in its head.
        if head.headers.contains_key("grpc-status") {
            return said(&head.headers, &[]);
        }
        let (message, trailers) = read(body).await?;
        said(&trailers.unwrap_or_default(), &message)
    };
    drive(connection, asking).await
}

fn request(authority: &str, is_tls: bool) -> Result<Request<()>, Failed> {
    let uri = Uri::builder()
        .scheme(if is_tls { "https" } else { "http" })
        .authority(authority)
        .path_and_query(METHOD)
        .build();
    let uri = uri.map_err(|_| Failed::from("the host is no host"))?;
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let fields = request.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert("te", HeaderValue::from_static("trailers"));
    fields.insert("user-agent", HeaderValue::from_static("portolan-check"));
    Ok(request)
}

/// The request, with its prefix. A field that has its default is left out.
fn message(service: &str) -> Bytes {
    let mut fields = BytesMut::new();
    if !service.is_empty() {
        fields.put_u8(0x0a);
        put_varint(&mut fields, service.len());
        fields.put_slice(service.as_bytes());
    }
    let mut message = BytesMut::with_capacity(PREFIX_BYTES + fields.len());
    message.put_u8(0);
    message.put_u32(u32::try_from(fields.len()).unwrap_or(u32::MAX));
    message.put(fields);
    message.freeze()
}

fn put_varint(into: &mut BytesMut, mut number: usize) {
    while number >= 0x80 {
        into.put_u8(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    into.put_u8(u8::try_from(number).unwrap_or_default());
}

/// The body and the trailers.
async fn read(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), Failed> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| words(&error))?;
        all.extend_from_slice(&data);
        if all.len() > ANSWER_BYTES_MAX {
            return Err("the answer is too large".into());
        }
        let released = body.flow_control().release_capacity(data.len());
        released.map_err(|error| words(&error))?;
    }
    let trailers = body.trailers().await.map_err(|error| words(&error))?;
    Ok((all, trailers))
}

/// What the server says.
fn said(trailers: &HeaderMap, message: &[u8]) -> Result<Outcome, Failed> {
    let field = |name| trailers.get(name).and_then(|value| value.to_str().ok());
    match field("grpc-status") {
        Some("0") => {}
        Some("5") => return Err("the server does not know the service".into()),
        Some("12") => return Err("the server has no health service".into()),
        Some(code) => {
            let words = cut(field("grpc-message").unwrap_or_default(), WORDS_BYTES_MAX);
            return Err(format!("grpc status {code} {words}").trim_end().into());
        }
        None => return Err("the answer is not gRPC".into()),
    }
    match status(message) {
        Some(1) => Ok(Outcome::good("SERVING")),
        Some(0) => Err("the server says UNKNOWN".into()),
        Some(2) => Err("the server says NOT_SERVING".into()),
        Some(3) => Err("the server says SERVICE_UNKNOWN".into()),
        Some(_) | None => Err("the answer is no answer of the health service".into()),
    }
}

/// The status in an answer; unknown fields are skipped.
fn status(message: &[u8]) -> Option<u64> {
    let (prefix, mut fields) = message.split_at_checked(PREFIX_BYTES)?;
    let (&flag, length) = prefix.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    if flag != 0 || usize::try_from(length).ok()? != fields.len() {
        return None;
    }
    let mut status = 0;
    while !fields.is_empty() {
        let tag = take_varint(&mut fields)?;
        let skipped = match tag & 7 {
            0 => {
                let number = take_varint(&mut fields)?;
                if tag == 0x08 {
                    status = number;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(take_varint(&mut fields)?).ok()?,
            5 => 4,
            _ => return None,
        };
        fields = fields.get(skipped..)?;
    }
    Some(status)
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_service_if_there_is_one() {
        assert_eq!(&*message(""), [0; 5]);
        assert_eq!(&*message("a.B"), b"\0\0\0\0\x05\x0a\x03a.B");
        let long = message(&"x".repeat(300));
        assert_eq!(&long[..8], b"\0\0\0\x01\x2f\x0a\xac\x02");
    }

    #[test]
    fn an_answer_is_read_whatever_else_it_has() {
        let cases: [(&[u8], Option<u64>); 9] = [
            (b"\0\0\0\0\x02\x08\x01", Some(1)),
            (b"\0\0\0\0\0", Some(0)),
            (b"\0\0\0\0\x02\x08\x02", Some(2)),
            (b"\0\0\0\0\x06\x12\x02hi\x08\x01", Some(1)),
            (b"\0\0\0\0\x02\x08", None),
            (b"\x01\0\0\0\x02\x08\x01", None),
            (b"\0\0\0\0\x03\x12\xff\x01", None),
            (b"\0\0", None),
            (
                b"\0\0\0\0\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                None,
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(status(message), expected, "{message:?}");
        }
    }
}
