//! Reads the chunked transfer coding (RFC 9112, section 7.1).
//!
//! Every line ends in CRLF: a bare LF is where proxies and origins disagree on
//! the end of a chunk. Extensions are bounded, checked and dropped.

use portolan_model::http::Fields;

use super::body::Decoded;
use super::trailers::TrailerReader;
use super::{HeadLimits, Refusal, Sender};

/// A chunk size has at most so many digits: any such number fits 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// Most bytes between the size of a chunk and the end of its line.
pub(super) const EXTENSION_BYTES_MAX: u16 = 256;

/// Where the decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the size; so many digits are read.
    Size(u8),
    /// Behind the size, before an extension.
    Blank,
    /// In the extensions.
    Extension,
    /// Before the LF behind the size.
    SizeLf,
    /// In the data.
    Data,
    /// Before the CR behind the data.
    DataCr,
    /// Before the LF behind the data.
    DataLf,
    /// Behind the last chunk.
    Trailers,
}

/// The state of one chunked body.
#[derive(Debug)]
pub(super) struct Chunked {
    sender: Sender,
    place: Place,
    /// What is left of the chunk.
    size: u64,
    extension_bytes: u16,
    trailers: TrailerReader,
}

impl Chunked {
    pub(super) const fn new(sender: Sender, limits: &HeadLimits) -> Self {
        Self {
            sender,
            place: Place::Size(0),
            size: 0,
            extension_bytes: 0,
            trailers: TrailerReader::new(sender, limits),
        }
    }

    /// Goes on until the input ends, a second run of data begins or the body ends.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        allowance: &mut u64,
        trailers: &mut Fields,
    ) -> Result<Decoded, Refusal> {
        let mut decoded = Decoded {
            consumed: 0,
            data: 0..0,
            end: false,
        };
        while let Some(rest @ [byte, ..]) = input.get(decoded.consumed..) {
            let taken = match self.place {
                Place::Data if decoded.data.is_empty() => {
                    let taken = self.take_data(rest.len());
                    decoded.data = decoded.consumed..decoded.consumed.saturating_add(taken);
                    taken
                }
                Place::Data => break,
                Place::Trailers => {
                    let Some(line) = self.trailers.read_line(rest, trailers)? else {
                        break;
                    };
                    decoded.end = line.is_last;
                    line.bytes
                }
                Place::Size(_)
                | Place::Blank
                | Place::Extension
                | Place::SizeLf
                | Place::DataCr
                | Place::DataLf => {
                    self.place = self.step(*byte, allowance)?;
                    1
                }
            };
            decoded.consumed = decoded.consumed.saturating_add(taken);
            if decoded.end {
                break;
            }
        }
        Ok(decoded)
    }

    fn take_data(&mut self, available: usize) -> usize {
        let taken = available.min(usize::try_from(self.size).unwrap_or(usize::MAX));
        self.size = self.size.saturating_sub(taken as u64);
        if self.size == 0 {
            self.place = Place::DataCr;
        }
        taken
    }

    /// Takes one byte of framing and says where that leads.
    fn step(&mut self, byte: u8, allowance: &mut u64) -> Result<Place, Refusal> {
        match (self.place, byte) {
            (Place::Size(digits), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits >= SIZE_DIGITS_MAX {
                    return Err(self.sender.malformed("a chunk size is too long"));
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.size = self.size << 4 | u64::from(digit);
                Ok(Place::Size(digits.saturating_add(1)))
            }
            (Place::Size(1..) | Place::Blank | Place::Extension, b'\r') => Ok(Place::SizeLf),
            (Place::Size(1..) | Place::Blank, b' ' | b'\t') => self.extend(Place::Blank),
            (Place::Size(1..) | Place::Blank, b';')
            | (Place::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.extend(Place::Extension),
            (Place::SizeLf, b'\n') => self.begin_chunk(allowance),
            (Place::DataCr, b'\r') => Ok(Place::DataLf),
            (Place::DataLf, b'\n') => {
                self.extension_bytes = 0;
                Ok(Place::Size(0))
            }
            (Place::DataCr | Place::DataLf, _) => Err(self
                .sender
                .malformed("the data of a chunk does not end in CRLF")),
            _ => Err(self
                .sender
                .malformed("the line of a chunk size is malformed")),
        }
    }

    fn extend(&mut self, place: Place) -> Result<Place, Refusal> {
        if self.extension_bytes >= EXTENSION_BYTES_MAX {
            return Err(self.sender.malformed("a chunk extension is too long"));
        }
        self.extension_bytes = self.extension_bytes.saturating_add(1);
        Ok(place)
    }

    fn begin_chunk(&mut self, allowance: &mut u64) -> Result<Place, Refusal> {
        *allowance = allowance
            .checked_sub(self.size)
            .ok_or(self.sender.body_too_large())?;
        Ok(if self.size == 0 {
            Place::Trailers
        } else {
            Place::Data
        })
    }
}
