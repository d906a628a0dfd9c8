//! Reads messages as a connection does, in pieces, and knows hostile ones.
//!
//! Shared by the tests of this crate and by the fuzz targets.

pub mod probes;

use portolan_model::Cause;
use portolan_model::http::{Fields, Method, RequestHead, ResponseHead, Scheme};
use portolan_wire::h1::{
    BodyDecoder, HeadLimits, Parsed, Refusal, RequestInfo, ResponseInfo, parse_request,
    parse_response,
};

/// A whole message.
#[derive(Debug, PartialEq)]
pub struct Message<H, I> {
    /// The head.
    pub head: H,
    /// What it says about the connection.
    pub info: I,
    /// The payload.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: Fields,
    /// Bytes of the input that the message takes.
    pub bytes: usize,
}

/// What became of an input.
#[derive(Debug, PartialEq)]
pub enum Outcome<T> {
    /// A whole message.
    Complete(T),
    /// The beginning of one.
    Partial,
    /// None.
    Refused(Cause),
}

impl<T> Outcome<T> {
    /// The message.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn complete(self) -> T {
        match self {
            Self::Complete(message) => message,
            Self::Partial => panic!("the message is incomplete"),
            Self::Refused(cause) => panic!("the message is refused: {cause:?}"),
        }
    }

    /// The cause of a refusal.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Refused(cause) => Some(*cause),
            Self::Complete(_) | Self::Partial => None,
        }
    }
}

/// Reads a request that arrives `step` bytes at a time.
#[must_use]
pub fn read_request(
    input: &[u8],
    limits: &HeadLimits,
    step: usize,
) -> Outcome<Message<RequestHead, RequestInfo>> {
    let mut head = RequestHead::default();
    let parsed = arrive(input, step, |seen| {
        parse_request(seen, limits, Scheme::Http, &mut head)
    });
    let (info, arrived) = match parsed {
        Outcome::Complete(parsed) => parsed,
        Outcome::Partial => return Outcome::Partial,
        Outcome::Refused(cause) => return Outcome::Refused(cause),
    };
    let decoder = BodyDecoder::new(info.framing, None, limits);
    read_body(input, (info.head_bytes, arrived), step, decoder).map(|(body, decoder, bytes)| {
        let trailers = decoder.trailers().clone();
        Message {
            head,
            info,
            body,
            trailers,
            bytes,
        }
    })
}

/// Reads a response that arrives `step` bytes at a time, after which the connection ends.
#[must_use]
pub fn read_response(
    input: &[u8],
    method: &Method,
    limits: &HeadLimits,
    step: usize,
) -> Outcome<Message<ResponseHead, ResponseInfo>> {
    let mut head = ResponseHead::default();
    let parsed = arrive(input, step, |seen| {
        parse_response(seen, limits, method, &mut head)
    });
    let (info, arrived) = match parsed {
        Outcome::Complete(parsed) => parsed,
        Outcome::Partial => return Outcome::Partial,
        Outcome::Refused(cause) => return Outcome::Refused(cause),
    };
    let decoder = BodyDecoder::of_response(info.framing, limits);
    read_body(input, (info.head_bytes, arrived), step, decoder).map(|(body, decoder, bytes)| {
        let trailers = decoder.trailers().clone();
        Message {
            head,
            info,
            body,
            trailers,
            bytes,
        }
    })
}

impl<T> Outcome<T> {
    /// The same with another message.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Complete(message) => Outcome::Complete(change(message)),
            Self::Partial => Outcome::Partial,
            Self::Refused(cause) => Outcome::Refused(cause),
        }
    }
}

/// Shows ever more of `input` until a head is complete, and says how much was shown.
fn arrive<I>(
    input: &[u8],
    step: usize,
    mut parse: impl FnMut(&[u8]) -> Result<Parsed<I>, Refusal>,
) -> Outcome<(I, usize)> {
    let mut arrived = 0;
    while arrived < input.len() {
        arrived = input.len().min(arrived.saturating_add(step));
        match parse(&input[..arrived]) {
            Ok(Parsed::Complete(info)) => return Outcome::Complete((info, arrived)),
            Ok(Parsed::Partial) => {}
            Err(refusal) => return Outcome::Refused(refusal.cause),
        }
    }
    Outcome::Partial
}

/// Reads a body of which `used` bytes are read and `arrived` are there.
///
/// # Panics
/// When the decoder says what cannot be.
#[must_use]
pub fn read_body(
    input: &[u8],
    (mut used, mut arrived): (usize, usize),
    step: usize,
    mut decoder: BodyDecoder,
) -> Outcome<(Vec<u8>, BodyDecoder, usize)> {
    let mut body = Vec::new();
    while !decoder.is_end() {
        let waiting = &input[used..arrived];
        let run = match decoder.decode(waiting) {
            Ok(run) => run,
            Err(refusal) => return Outcome::Refused(refusal.cause),
        };
        assert!(run.data.end <= run.consumed && run.consumed <= waiting.len());
        assert_eq!(run.end, decoder.is_end());
        body.extend_from_slice(&waiting[run.data]);
        used += run.consumed;
        if run.consumed > 0 || run.end {
            continue;
        }
        if arrived == input.len() {
            if decoder.finish_at_eof().is_ok() {
                break;
            }
            return Outcome::Partial;
        }
        arrived = input.len().min(arrived.saturating_add(step));
    }
    Outcome::Complete((body, decoder, used))
}
