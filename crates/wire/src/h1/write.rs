//! Writes heads and chunks.
//!
//! Host, framing and everything else that belongs to the connection is written from
//! arguments. Fields of those names are skipped, so that no policy and no peer can
//! put a second framing into a head.

use portolan_model::http::{Fields, Known, Method, RequestHead, ResponseHead, Status, Version};

use super::Framing;
use super::hop::HOP_BY_HOP;
use super::trailers::is_trailer;

/// What ends the data of a chunk.
pub const CHUNK_TAIL: &[u8] = b"\r\n";

/// What the other side shall do with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// Keep it after this message.
    KeepAlive,
    /// Close it after this message.
    Close,
    /// Switch it to this protocol.
    Upgrade(&'a str),
}

/// Writes the head of a request, always as HTTP/1.1.
///
/// A field `te: trailers` is kept and nominated: whoever puts it there can take trailers.
pub fn write_request(
    out: &mut Vec<u8>,
    head: &RequestHead,
    framing: Framing,
    connection: Wanted<'_>,
    expects_continue: bool,
) {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(head.authority.as_bytes());
    out.extend_from_slice(b"\r\n");
    head.fields.write(out, HOP_BY_HOP);
    match framing {
        // Some origins wait for a body, or answer 411, if nothing says that there is none.
        Framing::None if matches!(head.method, Method::Post | Method::Put | Method::Patch) => {
            out.extend_from_slice(b"content-length: 0\r\n");
        }
        Framing::None | Framing::UntilClose => {}
        Framing::Length(length) => write_length(out, length),
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    if expects_continue {
        out.extend_from_slice(b"expect: 100-continue\r\n");
    }
    let wants_trailers = head.fields.all_known(Known::Te).any(|te| te == b"trailers");
    if wants_trailers {
        out.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
    }
    write_connection(out, connection);
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of a final response or of a 101.
///
/// With [`Framing::None`], `declared_length` is the Content-Length that an answer to HEAD
/// or a 304 shows. A response that may have a body and has none is `Length(0)`. A client
/// of HTTP/1.0 gets [`Framing::UntilClose`] in place of chunks.
#[expect(
    clippy::too_many_arguments,
    reason = "each is one independent fact of the answer"
)]
pub fn write_response(
    out: &mut Vec<u8>,
    head: &ResponseHead,
    framing: Framing,
    declared_length: Option<u64>,
    connection: Wanted<'_>,
    client: Version,
) {
    write_status_line(out, head);
    head.fields.write(out, HOP_BY_HOP);
    match (framing, declared_length) {
        (Framing::Length(length), _) | (Framing::None, Some(length)) => write_length(out, length),
        (Framing::Chunked, _) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        (Framing::None, None) | (Framing::UntilClose, _) => {}
    }
    match connection {
        Wanted::KeepAlive if framing == Framing::UntilClose => write_connection(out, Wanted::Close),
        Wanted::KeepAlive if client == Version::Http10 => {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        Wanted::KeepAlive | Wanted::Close | Wanted::Upgrade(_) => write_connection(out, connection),
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes an interim response (1xx but 101).
pub fn write_interim(out: &mut Vec<u8>, head: &ResponseHead) {
    write_status_line(out, head);
    head.fields.write(out, HOP_BY_HOP);
    out.extend_from_slice(b"\r\n");
}

/// Writes what precedes the data of a chunk of `len` bytes. Zero would be the last chunk:
/// it is for [`write_last_chunk`].
pub fn write_chunk_head(out: &mut Vec<u8>, len: usize) {
    let digits = (usize::BITS.saturating_sub(len.leading_zeros()))
        .div_ceil(4)
        .max(1);
    for place in (0..digits).rev() {
        let digit = len.wrapping_shr(place.wrapping_mul(4)) & 0xf;
        out.push(b"0123456789abcdef".get(digit).copied().unwrap_or_default());
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the last chunk and those of the trailers that may be some.
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: &Fields) {
    out.extend_from_slice(b"0\r\n");
    for field in trailers.iter().filter(|field| is_trailer(*field)) {
        for part in [field.name.as_bytes(), b": ", field.value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn write_status_line(out: &mut Vec<u8>, head: &ResponseHead) {
    if head.status == Status::OK {
        // Most of all.
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(head.status.as_u16()).as_bytes());
    // The blank stays even without a phrase (RFC 9112, section 4).
    out.push(b' ');
    out.extend_from_slice(head.status.reason().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_connection(out: &mut Vec<u8>, connection: Wanted<'_>) {
    match connection {
        Wanted::KeepAlive => {}
        Wanted::Close => out.extend_from_slice(b"connection: close\r\n"),
        Wanted::Upgrade(protocol) => {
            out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
            out.extend_from_slice(protocol.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}
