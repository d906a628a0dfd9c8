//! A name as it stands in a question, in small letters.
//!
//! Invariant: `bytes[..len]` is a whole name in wire form (RFC 1035, section 3.1), and
//! `starts` says where its labels begin.

use super::Bad;

/// Longest name in wire form (RFC 1035, section 2.3.4).
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Longest label.
pub(crate) const LABEL_BYTES_MAX: usize = 63;
/// Most labels: each has a length and a letter at least.
const LABELS_MAX: usize = 127;

/// A name in wire form, in small letters.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    len: usize,
    starts: [u8; LABELS_MAX],
    labels: usize,
}

impl Name {
    /// The root.
    pub(crate) const fn root() -> Self {
        Self {
            bytes: [0; NAME_BYTES_MAX],
            len: 1,
            starts: [0; LABELS_MAX],
            labels: 0,
        }
    }

    /// Reads the name at the start of `message` into this place, and says how many bytes it
    /// took. A name in a question has nothing before it that it could point to.
    ///
    /// # Errors
    /// [`Bad::Form`].
    pub(crate) fn read(&mut self, message: &[u8]) -> Result<usize, Bad> {
        (self.len, self.labels) = (0, 0);
        loop {
            let length = *message.get(self.len).ok_or(Bad::Form)?;
            let end = self
                .len
                .checked_add(usize::from(length))
                .and_then(|end| end.checked_add(1))
                .ok_or(Bad::Form)?;
            if usize::from(length) > LABEL_BYTES_MAX || end > NAME_BYTES_MAX {
                return Err(Bad::Form);
            }
            let read = message.get(self.len..end).ok_or(Bad::Form)?;
            let room = self.bytes.get_mut(self.len..end).ok_or(Bad::Form)?;
            room.copy_from_slice(read);
            if length == 0 {
                self.len = end;
                return Ok(end);
            }
            if let Some((_, label)) = room.split_first_mut() {
                label.make_ascii_lowercase();
            }
            let start = self.starts.get_mut(self.labels).ok_or(Bad::Form)?;
            *start = u8::try_from(self.len).map_err(|_| Bad::Form)?;
            self.labels = self.labels.saturating_add(1);
            self.len = end;
        }
    }

    /// The name of a text, whose labels are parted by dots; none if it is no name.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let mut wire = Vec::with_capacity(NAME_BYTES_MAX);
        for label in text.split('.').filter(|label| !label.is_empty()) {
            wire.push(u8::try_from(label.len()).ok()?);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        let mut name = Self::root();
        name.read(&wire).ok()?;
        Some(name)
    }

    /// How many labels it has; the root has none.
    pub(crate) const fn labels(&self) -> usize {
        self.labels
    }

    /// The label at a place; empty if there is none.
    pub(crate) fn label(&self, place: usize) -> &[u8] {
        let start = self.offset(place);
        let length = self.bytes.get(start).copied().unwrap_or_default();
        let from = start.saturating_add(1);
        let label = self
            .bytes
            .get(from..from.saturating_add(usize::from(length)));
        label.unwrap_or_default()
    }

    /// Where the label at a place begins; the end of the name if there is none.
    pub(crate) fn offset(&self, place: usize) -> usize {
        if place >= self.labels {
            return self.len.saturating_sub(1);
        }
        usize::from(self.starts.get(place).copied().unwrap_or_default())
    }

    /// The wire form from a label on.
    pub(crate) fn suffix(&self, place: usize) -> &[u8] {
        self.bytes
            .get(self.offset(place)..self.len)
            .unwrap_or_default()
    }

    /// The whole wire form.
    pub(crate) fn as_wire(&self) -> &[u8] {
        self.suffix(0)
    }

    /// How many labels stand before that zone's; none if the name is not in it.
    pub(crate) fn before(&self, zone: &Self) -> Option<usize> {
        let own = self.labels.checked_sub(zone.labels)?;
        (self.suffix(own) == zone.as_wire()).then_some(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_counted_and_folded() {
        let mut name = Name::root();
        let read = name.read(b"\x03WwW\x02Ab\0rest").unwrap();
        assert_eq!((read, name.labels()), (8, 2));
        assert_eq!((name.label(0), name.label(1)), (&b"www"[..], &b"ab"[..]));
        assert_eq!(name.label(2), b"");
        assert_eq!(name.suffix(1), b"\x02ab\0");
        assert_eq!(name.suffix(2), b"\0");
        assert_eq!(name.before(&Name::of_text("ab.").unwrap()), Some(1));
        assert_eq!(name.before(&Name::of_text("b").unwrap()), None);
        assert_eq!(name.before(&Name::root()), Some(2));
    }

    #[test]
    fn names_end_at_their_limits() {
        let labels = |count: usize, rest: usize| {
            let mut wire = Vec::new();
            for _ in 0..count {
                wire.push(63);
                wire.extend_from_slice(&[b'a'; 63]);
            }
            if rest > 0 {
                wire.push(u8::try_from(rest).unwrap());
                wire.extend(vec![b'a'; rest]);
            }
            wire.push(0);
            wire
        };
        let mut name = Name::root();
        assert_eq!(name.read(&labels(3, 61)), Ok(255));
        assert_eq!(name.read(&labels(3, 62)), Err(Bad::Form));
        let mut ones = [1, b'a'].repeat(127);
        ones.push(0);
        assert_eq!(name.read(&ones), Ok(255));
        assert_eq!(name.labels(), 127);
        for bad in [&b"\x40a"[..], b"\xc0\x0c", b"\x02a", b"", b"\x01a"] {
            assert_eq!(name.read(bad), Err(Bad::Form), "{bad:?}");
        }
    }
}
