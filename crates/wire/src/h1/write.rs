//! Writes heads and chunks.

use portolan_model::http::{Fields, RequestHead, ResponseHead, Version};

use super::Framing;

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

/// What ends the data of a chunk.
pub const CHUNK_TAIL: &[u8] = b"\r\n";

/// Writes the head of a request, always as HTTP/1.1.
pub fn write_request(
    _out: &mut Vec<u8>,
    _head: &RequestHead,
    _framing: Framing,
    _connection: Wanted<'_>,
    _expects_continue: bool,
) {
}

/// Writes the head of a final response or of a 101.
#[expect(
    clippy::too_many_arguments,
    reason = "each is one independent fact of the answer"
)]
pub fn write_response(
    _out: &mut Vec<u8>,
    _head: &ResponseHead,
    _framing: Framing,
    _declared_length: Option<u64>,
    _connection: Wanted<'_>,
    _client: Version,
) {
}

/// Writes an interim response (1xx but 101).
pub fn write_interim(_out: &mut Vec<u8>, _head: &ResponseHead) {}

/// Writes what precedes the data of a chunk of `len` bytes; `len` is not zero.
pub fn write_chunk_head(_out: &mut Vec<u8>, _len: usize) {}

/// Writes the last chunk and the trailers.
pub fn write_last_chunk(_out: &mut Vec<u8>, _trailers: &Fields) {}
