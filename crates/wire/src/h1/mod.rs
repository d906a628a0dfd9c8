//! HTTP/1: a strict, synchronous codec for both sides of a proxy.
//!
//! `httparse` finds the lines of a head, with every leniency off; what they
//! mean is decided here: where a message ends, whether the connection lives on,
//! and which fields travel further. A parsed head holds end-to-end fields only.
//! What belongs to one connection comes out as [`RequestInfo`] or
//! [`ResponseInfo`] and is written anew by the writers, so that nothing is
//! forwarded that was not understood.
//!
//! Invariant: a message whose end two recipients could see in different places
//! is refused, never repaired.
//! Source: RFC 9110 and RFC 9112; nginx's answer, or a stricter one.

mod body;
mod chunked;
mod hop;
mod request;
mod response;
mod scan;
#[cfg(test)]
mod tests;
mod trailers;
mod write;

pub use body::{BodyDecoder, Decoded};
pub use request::{RequestInfo, parse_request};
pub use response::{ResponseInfo, parse_response};
pub use write::{
    CHUNK_TAIL, Wanted, write_chunk_head, write_interim, write_last_chunk, write_request,
    write_response,
};

use portolan_model::Cause;

/// How large a head may be, and the trailers of a body likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Most bytes of a head, from its first byte to its empty line.
    pub head_bytes_max: usize,
    /// Most fields of a head, hop-by-hop fields included.
    pub fields_max: usize,
    /// Most bytes of a request target.
    pub target_bytes_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            head_bytes_max: 64 << 10,
            fields_max: 100,
            target_bytes_max: 8 << 10,
        }
    }
}

/// Where the body of a message ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// After so many bytes.
    Length(u64),
    /// With the last chunk and its trailers.
    Chunked,
    /// With the connection. Only responses end so.
    UntilClose,
}

/// Whether a connection may carry another message after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It may.
    KeepAlive,
    /// It ends with this message.
    Close,
}

/// What a parser made of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The whole of it.
    Complete(T),
    /// The beginning of something; call again with more input behind the same bytes.
    Partial,
}

/// Why a message is refused. The connection cannot be used after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// The cause, which also says whose fault it is.
    pub cause: Cause,
    /// What exactly is wrong: for the log, not for the other side.
    pub detail: &'static str,
}

/// Who sent what is being read, and so whose fault a flaw is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Client,
    Upstream,
}

impl Sender {
    const fn malformed(self, detail: &'static str) -> Refusal {
        let cause = match self {
            Self::Client => Cause::RequestMalformed,
            Self::Upstream => Cause::ResponseMalformed,
        };
        Refusal { cause, detail }
    }

    const fn too_large(self, detail: &'static str) -> Refusal {
        let cause = match self {
            Self::Client => Cause::HeadTooLarge,
            Self::Upstream => Cause::ResponseHeadTooLarge,
        };
        Refusal { cause, detail }
    }

    /// Only the bodies of requests have a limit of their own.
    const fn body_too_large(self) -> Refusal {
        let cause = match self {
            Self::Client => Cause::BodyTooLarge,
            Self::Upstream => Cause::ResponseMalformed,
        };
        let detail = "a body is too large";
        Refusal { cause, detail }
    }

    const fn incomplete(self) -> Refusal {
        let cause = match self {
            Self::Client => Cause::RequestMalformed,
            Self::Upstream => Cause::ResponseIncomplete,
        };
        let detail = "the connection ended within a body";
        Refusal { cause, detail }
    }
}
