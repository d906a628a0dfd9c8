//! A field as a line: what may stand in it, and where it stands in the text of all.
//!
//! Invariant: a line is of the text that it is asked about; that text only grows.

use std::ops::Range;

use super::fields::{Field, FieldError, NAME_BYTES_MAX};
use super::known::Known;

pub(super) const COLON: &[u8; 2] = b": ";
pub(super) const LINE_END: &[u8; 2] = b"\r\n";

/// Where the line of a field, `name: value` CRLF, stands in the text.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) start: u32,
    /// Behind CRLF.
    pub(super) end: u32,
    pub(super) name_bytes: u16,
    pub(super) known: Known,
    /// Whether the name is spelt as [`Known::as_str`] has it.
    pub(super) is_ours: bool,
}

impl Line {
    /// A line that stands there, of another name than those known.
    pub(super) fn new(place: Range<usize>, name_bytes: usize) -> Result<Self, FieldError> {
        let (Ok(start), Ok(end), Ok(name_bytes)) = (
            u32::try_from(place.start),
            u32::try_from(place.end),
            u16::try_from(name_bytes),
        ) else {
            return Err(FieldError::TooLarge);
        };
        Ok(Self {
            start,
            end,
            name_bytes,
            known: Known::Other,
            is_ours: false,
        })
    }

    fn name_end(&self) -> usize {
        self.start as usize + usize::from(self.name_bytes)
    }

    pub(super) fn is_named(&self, text: &[u8], name: &str) -> bool {
        text[self.start as usize..self.name_end()].eq_ignore_ascii_case(name.as_bytes())
    }

    pub(super) fn value<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.name_end() + COLON.len()..self.end as usize - LINE_END.len()]
    }

    pub(super) fn field<'a>(&self, text: &'a [u8]) -> Field<'a> {
        Field {
            name: if self.is_ours {
                self.known.as_str()
            } else {
                // A token is ASCII.
                str::from_utf8(&text[self.start as usize..self.name_end()]).unwrap_or_default()
            },
            value: self.value(text),
            known: self.known,
        }
    }
}

/// Whether `text` is a token (RFC 9110, section 5.6.2) of a length that fits.
pub(super) fn is_token(text: &[u8]) -> bool {
    const fn tchar(byte: u8) -> bool {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
    }
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.iter().all(|byte| tchar(*byte))
}

/// Whether `text` would end the line that it stands in.
pub(super) fn splits(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'\r' | b'\n'))
}

/// Whether `value` may stand in a field: no control character but tab, and no
/// blank at either end (RFC 9110, section 5.5).
pub(super) fn is_value(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let allowed = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    value.iter().all(allowed) && !blank(value.first()) && !blank(value.last())
}
