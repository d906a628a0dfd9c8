//! Reads the head of a request.

use portolan_model::Cause;
use portolan_model::http::{RequestHead, Scheme};

use super::{Framing, HeadLimits, Parsed, Persistence, Refusal};

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
    pub upgrade: Option<Box<str>>,
    /// Whether the client takes trailers.
    pub accepts_trailers: bool,
}

/// Reads the head of a request at the start of `input`.
///
/// # Errors
/// [`Refusal`] when the input can't become an acceptable head; the client's fault.
pub fn parse_request(
    _input: &[u8],
    _limits: &HeadLimits,
    _scheme: Scheme,
    head: &mut RequestHead,
) -> Result<Parsed<RequestInfo>, Refusal> {
    head.clear();
    Err(Refusal::new(Cause::Internal, "not built yet"))
}
