//! Reads a body, without copying it.

use std::ops::Range;

use portolan_model::Cause;
use portolan_model::http::Fields;

use super::{Framing, HeadLimits, Refusal};

/// One step of a [`BodyDecoder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that are done with; give the rest again, with more behind it.
    pub consumed: usize,
    /// Payload inside the consumed bytes; may be empty.
    pub data: Range<usize>,
    /// Whether the body is complete. What follows belongs to the next message.
    pub end: bool,
}

/// Finds payload and end of one body, step by step.
#[derive(Debug)]
pub struct BodyDecoder {
    framing: Framing,
    trailers: Fields,
}

impl BodyDecoder {
    /// A decoder for the body of a request.
    #[must_use]
    pub fn new(framing: Framing, _body_bytes_max: Option<u64>, _limits: &HeadLimits) -> Self {
        Self {
            framing,
            trailers: Fields::default(),
        }
    }

    /// A decoder for the body of a response: its refusals are the upstream's fault.
    #[must_use]
    pub fn of_response(framing: Framing, body_bytes_max: Option<u64>, limits: &HeadLimits) -> Self {
        Self::new(framing, body_bytes_max, limits)
    }

    /// Takes the next bytes of the connection.
    ///
    /// # Errors
    /// [`Refusal`] when the body breaks its framing or a limit.
    pub fn decode(&mut self, _input: &[u8]) -> Result<Decoded, Refusal> {
        Err(Refusal::new(Cause::Internal, "not built yet"))
    }

    /// Whether the body is complete.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.framing == Framing::None
    }

    /// The trailers; complete once the body is.
    #[must_use]
    pub fn trailers(&self) -> &Fields {
        &self.trailers
    }

    /// Says that the connection has ended.
    ///
    /// # Errors
    /// [`Refusal`] when the body is not complete by that.
    pub fn finish_at_eof(&mut self) -> Result<(), Refusal> {
        Ok(())
    }
}
