//! From the lines of a head to end-to-end fields and what concerns the hop.
//!
//! `httparse` takes a bare LF for the end of a line. Other recipients do not,
//! so each line is checked to end in CRLF: one look behind each field name.

use std::mem::MaybeUninit;

use httparse::Header;
use portolan_model::http::{Fields, Known};

use super::hop::{HOP_BY_HOP, Hop};
use super::{HeadLimits, Refusal, Sender};

/// Up to so many fields are found without allocating.
const FIELDS_INLINE: usize = 128;

/// From this size on, a head is only scanned once its end is there: otherwise each byte
/// of a head that trickles in costs a scan of all before it.
const LONG_HEAD_BYTES: usize = 4 << 10;

/// Runs `read` with room for as many fields as `limits` admit.
pub(super) fn with_room<'a, R>(
    limits: &HeadLimits,
    read: impl FnOnce(&mut [MaybeUninit<Header<'a>>]) -> R,
) -> R {
    let mut room = [const { MaybeUninit::uninit() }; FIELDS_INLINE];
    match room.get_mut(..limits.fields_max) {
        Some(room) => read(room),
        None => read(&mut vec![MaybeUninit::uninit(); limits.fields_max]),
    }
}

/// Whether it is worth to look for a whole head in `input`.
pub(super) fn is_worth_scanning(input: &[u8]) -> bool {
    input.len() < LONG_HEAD_BYTES
        || memchr::memmem::find(input, b"\n\r\n").is_some()
        || memchr::memmem::find(input, b"\n\n").is_some()
}

/// What an error of the scanner means, where both sides share it.
pub(super) fn flaw(sender: Sender, error: httparse::Error) -> Refusal {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => sender.too_large("a head has too many fields"),
        Error::HeaderName => sender.malformed(
            "a field name has a forbidden character, a blank before its colon, or is a folded line",
        ),
        Error::HeaderValue => sender.malformed("a field value has a forbidden character"),
        Error::NewLine => sender.malformed("a line of a head does not end in CRLF"),
        Error::Status => sender.malformed("a status line is malformed"),
        Error::Token => sender.malformed("a request line is malformed"),
        Error::Version => sender.malformed("a version is malformed"),
    }
}

/// Sorts the fields of a head: those for the end into `fields`, the others into the hop.
///
/// `head` is the whole head, and the fields are slices of it.
///
/// # Errors
/// [`Refusal`] when a line end, a hop-by-hop field or their number is not acceptable.
pub(super) fn sort_fields<'a>(
    sender: Sender,
    head: &'a [u8],
    headers: &[Header<'a>],
    fields: &mut Fields,
) -> Result<Hop<'a>, Refusal> {
    let mut hop = Hop::new(sender);
    let too_large = |_| sender.too_large("a field name is too long");
    let end = head.len().saturating_sub(2);
    let start = headers
        .first()
        .map_or(end, |first| place_in(head, first.name));
    let lines = head.get(start..end).unwrap_or_default();
    let kept = fields.keep(lines).map_err(too_large)?;
    let mut lines_end_well = head.ends_with(b"\r\n\r\n");
    for header in headers {
        let at = place_in(head, header.name);
        // The line before ends in LF, or this would be none.
        lines_end_well &= head.get(at.wrapping_sub(2)) == Some(&b'\r');
        let known = Known::of(header.name);
        if HOP_BY_HOP.has(known) {
            hop.note(known, header.value)?;
        } else {
            let at = kept.saturating_add(at.saturating_sub(start));
            fields
                .push_kept(known, at, header.name, header.value)
                .map_err(too_large)?;
        }
    }
    if !lines_end_well {
        return Err(flaw(sender, httparse::Error::NewLine));
    }
    if hop.nominates() {
        remove_nominated(headers, fields);
    }
    Ok(hop)
}

/// Where `name`, a slice of `head`, begins in it.
fn place_in(head: &[u8], name: &str) -> usize {
    name.as_ptr().addr().wrapping_sub(head.as_ptr().addr())
}

/// Removes what Connection nominates (RFC 9110, section 7.6.1), whatever it is. Host and
/// framing are out of its reach, and what the gateway adds itself is not there yet.
fn remove_nominated(headers: &[Header<'_>], fields: &mut Fields) {
    for header in headers {
        if Known::of(header.name) == Known::Connection {
            for name in super::hop::elements(header.value) {
                if let Ok(name) = std::str::from_utf8(name) {
                    fields.remove(name);
                }
            }
        }
    }
}
