//! Reads a body, without copying it.

use std::ops::Range;

use portolan_model::http::Fields;

use super::chunked::Chunked;
use super::{Framing, HeadLimits, Refusal, Sender};

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
///
/// A step yields one run of payload. It leaves input behind when it stands before a
/// second run, at the end, or within a line of trailers; only the last needs more input,
/// and room for [`HeadLimits::head_bytes_max`]. After a refusal the decoder is spent.
#[derive(Debug)]
pub struct BodyDecoder {
    sender: Sender,
    state: State,
    /// How many more bytes of payload are admitted.
    allowance: u64,
    trailers: Fields,
}

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    End,
}

impl BodyDecoder {
    /// A decoder for the body of a request; `body_bytes_max` bounds its payload.
    #[must_use]
    pub fn new(framing: Framing, body_bytes_max: Option<u64>, limits: &HeadLimits) -> Self {
        Self {
            sender: Sender::Client,
            state: match framing {
                Framing::None | Framing::Length(0) => State::End,
                Framing::Length(length) => State::Length(length),
                Framing::Chunked => State::Chunked(Chunked::new(Sender::Client, limits)),
                Framing::UntilClose => State::UntilClose,
            },
            allowance: body_bytes_max.unwrap_or(u64::MAX),
            trailers: Fields::default(),
        }
    }

    /// A decoder for the body of a response, of any size: its refusals are the upstream's
    /// fault.
    #[must_use]
    pub fn of_response(framing: Framing, limits: &HeadLimits) -> Self {
        let mut decoder = Self::new(framing, None, limits);
        decoder.sender = Sender::Upstream;
        if let State::Chunked(chunked) = &mut decoder.state {
            *chunked = Chunked::new(Sender::Upstream, limits);
        }
        decoder
    }

    /// Takes the next bytes of the connection.
    ///
    /// # Errors
    /// [`Refusal`] when the body breaks its framing or a limit.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, Refusal> {
        let decoded = match &mut self.state {
            State::End => {
                return Ok(Decoded {
                    consumed: 0,
                    data: 0..0,
                    end: true,
                });
            }
            State::Length(left) => {
                if *left > self.allowance {
                    return Err(self.sender.body_too_large());
                }
                let taken = input
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left = left.saturating_sub(taken as u64);
                self.allowance = self.allowance.saturating_sub(taken as u64);
                Decoded {
                    consumed: taken,
                    data: 0..taken,
                    end: *left == 0,
                }
            }
            State::UntilClose => {
                let taken = input.len();
                let left = self.allowance.checked_sub(taken as u64);
                self.allowance = left.ok_or(self.sender.body_too_large())?;
                Decoded {
                    consumed: taken,
                    data: 0..taken,
                    end: false,
                }
            }
            State::Chunked(chunked) => {
                chunked.decode(input, &mut self.allowance, &mut self.trailers)?
            }
        };
        if decoded.end {
            self.state = State::End;
        }
        Ok(decoded)
    }

    /// Whether the body is complete.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self.state, State::End)
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
        match self.state {
            State::End => Ok(()),
            State::UntilClose => {
                self.state = State::End;
                Ok(())
            }
            State::Length(_) | State::Chunked(_) => Err(self.sender.incomplete()),
        }
    }
}
