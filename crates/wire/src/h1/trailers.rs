//! Reads trailers, line by line, and says which names may be one.
//!
//! Some origins merge trailers into the head. So a trailer that names the end of
//! a message or its host is refused, since only an attack sends it, and one that
//! routes, authenticates, vouches for an address or describes the content is
//! dropped (RFC 9110, section 6.5.1).

use portolan_model::http::{Field, Fields, Known};

use super::hop::trim;
use super::{HeadLimits, Refusal, Sender};

/// Names outside of [`Known`] that mean something only in a head.
const HEAD_ONLY: &[&str] = &[
    "authorization",
    "set-cookie",
    "www-authenticate",
    "cache-control",
    "content-encoding",
    "content-range",
    "pragma",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "age",
    "expires",
    "location",
    "retry-after",
    "vary",
    "warning",
    "x-real-ip",
];

/// Whether a field may travel as a trailer. Names that the gateway itself looks at may not.
pub(super) fn is_trailer(field: Field<'_>) -> bool {
    field.known == Known::Other
        && !HEAD_ONLY
            .iter()
            .any(|name| name.eq_ignore_ascii_case(field.name))
}

/// One line of the trailer section.
pub(super) struct TrailerLine {
    /// Its length, with CRLF.
    pub(super) bytes: usize,
    /// Whether it is the empty one that ends the section.
    pub(super) is_last: bool,
}

/// Reads a trailer section within limits.
#[derive(Debug)]
pub(super) struct TrailerReader {
    sender: Sender,
    bytes_left: usize,
    fields_left: usize,
}

impl TrailerReader {
    pub(super) const fn new(sender: Sender, limits: &HeadLimits) -> Self {
        Self {
            sender,
            bytes_left: limits.head_bytes_max,
            fields_left: limits.fields_max,
        }
    }

    /// Reads the line at the start of `input` into `trailers`; `None` if its end is not there.
    pub(super) fn read_line(
        &mut self,
        input: &[u8],
        trailers: &mut Fields,
    ) -> Result<Option<TrailerLine>, Refusal> {
        let end = memchr::memchr(b'\n', input);
        let bytes = end.map_or(input.len(), |end| end.saturating_add(1));
        let Some(left) = self.bytes_left.checked_sub(bytes) else {
            return Err(self.sender.too_large("the trailers are too large"));
        };
        let Some(line) = end.and_then(|end| input.get(..end)) else {
            return Ok(None);
        };
        self.bytes_left = left;
        let Some(line) = line.strip_suffix(b"\r") else {
            return Err(self
                .sender
                .malformed("a line of trailers does not end in CRLF"));
        };
        if line.is_empty() {
            trailers.retain(is_trailer);
        } else {
            self.read_field(line, trailers)?;
        }
        Ok(Some(TrailerLine {
            bytes,
            is_last: line.is_empty(),
        }))
    }

    fn read_field(&mut self, line: &[u8], trailers: &mut Fields) -> Result<(), Refusal> {
        let Some(left) = self.fields_left.checked_sub(1) else {
            return Err(self.sender.too_large("there are too many trailers"));
        };
        self.fields_left = left;
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| std::str::from_utf8(name).ok());
        let (Some(name), Some(value)) = (name, parts.next()) else {
            return Err(self.sender.malformed("a trailer is malformed"));
        };
        if matches!(
            Known::of(name),
            Known::ContentLength | Known::TransferEncoding | Known::Host
        ) {
            return Err(self.sender.malformed("a trailer may not say this"));
        }
        trailers
            .push(name, trim(value))
            .map_err(|_| self.sender.malformed("a trailer is malformed"))
    }
}
