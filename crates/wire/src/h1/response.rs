//! Reads the head of a response.

use portolan_model::Cause;
use portolan_model::http::{Method, ResponseHead};

use super::{Framing, HeadLimits, Parsed, Persistence, Refusal};

/// What the head of a response says about its own connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseInfo {
    /// Bytes of the input that the head takes; the body begins behind them.
    pub head_bytes: usize,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the connection may be used again.
    pub persistence: Persistence,
    /// `Content-Length` as sent, also where no body follows (HEAD, 304).
    pub declared_length: Option<u64>,
    /// The protocol that a 101 switches to.
    pub upgrade: Option<Box<str>>,
}

/// Reads the head of a response at the start of `input`.
///
/// # Errors
/// [`Refusal`] when the input can't become an acceptable head; the upstream's fault.
pub fn parse_response(
    _input: &[u8],
    _limits: &HeadLimits,
    _request_method: &Method,
    head: &mut ResponseHead,
) -> Result<Parsed<ResponseInfo>, Refusal> {
    head.clear();
    Err(Refusal::new(Cause::Internal, "not built yet"))
}
