//! A place in the tree, as it lies in memory.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | the parent |
//! | 2 | length of the label |
//! | 1 | flags: which fields there are, and what they mean |
//! | 1 | nothing |
//! | 4 each | the fields that there are: capture, here, open |
//! | | the label, filled up to a multiple of 4 |
//!
//! Numbers are little-endian. Most nodes take half a cache line or less.

use super::{Slot, Span, TABLE};

/// Bytes of a word, in which nodes are addressed.
pub(super) const WORD: usize = 4;
/// Bytes before the fields.
const HEADER: usize = 2 * WORD;

/// A field that a node may have. Its bit stands in the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// The node that captures the next segment.
    Capture = 1,
    /// The rules of paths that end at the node.
    Here = 2,
    /// The rules of paths that may go on.
    Open = 4,
}

const FIELDS: u8 = 7;
/// How far the bit that makes a field of rules plain is from the field's own.
const PLAIN_SHIFT: u8 = 2;
const HAS_CHILDREN: u8 = 32;
const HAS_REGEXES: u8 = 64;
const IS_CAPTURED: u8 = 128;

/// A node to be written.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a bit of the flags, and independent of the others"
)]
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) parent: Slot,
    pub(super) label: &'a [u8],
    pub(super) has_capture: bool,
    pub(super) has_children: bool,
    pub(super) has_regexes: bool,
    /// It captures any segment.
    pub(super) is_captured: bool,
    pub(super) here: Span,
    pub(super) open: Span,
}

impl Draft<'_> {
    /// Writes the node behind the others and says where it is. Its capture is set once
    /// that is written.
    pub(super) fn write(&self, nodes: &mut Vec<u8>, spans: &mut Vec<Span>) -> Slot {
        let slot = address(nodes.len() / WORD);
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let mut flags = flag(self.has_capture, Field::Capture as u8)
            | flag(self.has_children, HAS_CHILDREN)
            | flag(self.has_regexes, HAS_REGEXES)
            | flag(self.is_captured, IS_CAPTURED);
        let mut fields = Vec::new();
        if self.has_capture {
            fields.push(TABLE);
        }
        for (span, field) in [(self.here, Field::Here), (self.open, Field::Open)] {
            if span.is_empty() {
                continue;
            }
            flags |= field as u8;
            if let Some(entry) = span.plain {
                flags |= (field as u8) << PLAIN_SHIFT;
                fields.push(entry);
            } else {
                fields.push(address(spans.len()));
                spans.push(span);
            }
        }
        // Labels are paths or hosts, whose limits are far below these.
        let bytes = u16::try_from(self.label.len()).unwrap_or(u16::MAX);
        nodes.extend(self.parent.to_le_bytes());
        nodes.extend(bytes.to_le_bytes());
        nodes.extend([flags, 0]);
        nodes.extend(fields.into_iter().flat_map(u32::to_le_bytes));
        nodes.extend(self.label);
        nodes.resize(nodes.len().next_multiple_of(WORD), 0);
        slot
    }
}

/// Sets the capture of a node that was written with one.
pub(super) fn set_capture(nodes: &mut [u8], slot: Slot, capture: Slot) {
    let at = slot as usize * WORD + HEADER;
    nodes[at..at + WORD].copy_from_slice(&capture.to_le_bytes());
}

/// A table never has as many nodes as would not fit: it would take 16 GiB.
pub(super) fn address(place: usize) -> Slot {
    Slot::try_from(place).unwrap_or(TABLE)
}

/// A node to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    header: u64,
    rest: &'a [u8],
}

impl<'a> Node<'a> {
    #[inline]
    pub(super) fn at(nodes: &'a [u8], slot: Slot) -> Self {
        let bytes = &nodes[slot as usize * WORD..];
        match bytes.split_first_chunk::<HEADER>() {
            Some((header, rest)) => Self {
                header: u64::from_le_bytes(*header),
                rest,
            },
            // Addresses come from writing nodes, so there is one.
            None => Self {
                header: 0,
                rest: &[],
            },
        }
    }

    #[inline]
    pub(super) const fn parent(self) -> Slot {
        let [a, b, c, d, ..] = self.header.to_le_bytes();
        Slot::from_le_bytes([a, b, c, d])
    }

    #[inline]
    const fn flags(self) -> u8 {
        self.header.to_le_bytes()[6]
    }

    pub(super) const fn has_children(self) -> bool {
        self.flags() & HAS_CHILDREN != 0
    }

    pub(super) const fn has_regexes(self) -> bool {
        self.flags() & HAS_REGEXES != 0
    }

    pub(super) const fn is_captured(self) -> bool {
        self.flags() & IS_CAPTURED != 0
    }

    /// Whether the field is one rule without other conditions than host and path.
    #[inline]
    pub(super) const fn is_plain(self, field: Field) -> bool {
        self.flags() & (field as u8) << PLAIN_SHIFT != 0
    }

    #[inline]
    pub(super) fn field(self, field: Field) -> Option<u32> {
        let bit = field as u8;
        if self.flags() & bit == 0 {
            return None;
        }
        let before = (self.flags() & (bit - 1)).count_ones() as usize;
        let value = self.rest.get(before * WORD..)?.first_chunk()?;
        Some(u32::from_le_bytes(*value))
    }

    #[inline]
    pub(super) fn label(self) -> &'a [u8] {
        let [_, _, _, _, low, high, ..] = self.header.to_le_bytes();
        let bytes = usize::from(u16::from_le_bytes([low, high]));
        let fields = (self.flags() & FIELDS).count_ones() as usize;
        &self.rest[fields * WORD..][..bytes]
    }

    /// How far the label reaches in `text` if it stands there in whole segments.
    #[inline]
    pub(super) fn reach(self, text: &[u8]) -> Option<usize> {
        let rest = text.strip_prefix(self.label())?;
        let is_border = matches!(rest.first(), None | Some(b'/'));
        is_border.then_some(text.len() - rest.len())
    }

    /// The node that captures the next segment, if there are both, and where that ends.
    pub(super) fn captured(self, path: &[u8], at: usize) -> Option<(Slot, usize)> {
        let capture = self.field(Field::Capture)?;
        let segment = path.get(at + 1..)?;
        let bytes = memchr::memchr(b'/', segment).unwrap_or(segment.len());
        (bytes > 0).then_some((capture, at + 1 + bytes))
    }
}
