//! Fields whose text is known beforehand but for gaps.
//!
//! What is said in every request of a connection is written once; a head takes it over with
//! few copies, and what differs from request to request goes into the gaps.

use super::known::Known;
use super::line::{COLON, LINE_END};

/// Lines and bytes of a usual stencil: there may be one to each of many connections.
const USUAL: (usize, usize) = (7, 256);

/// Fields of known names, in order, some of which have a gap in their value.
#[derive(Clone, Debug, Default)]
pub struct Stencil {
    /// The lines without what goes into the gaps.
    pub(super) text: Vec<u8>,
    pub(super) lines: Vec<StencilLine>,
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub(super) struct StencilLine {
    pub(super) known: Known,
    pub(super) name_bytes: u16,
    /// Where it ends in the text of all.
    pub(super) end: u32,
    /// Where its gap is in the text of all.
    pub(super) gap: Option<u32>,
}

impl Stencil {
    /// Adds a field of parts that were checked; nothing is between them.
    #[must_use]
    pub fn with(self, known: Known, value: &[&str]) -> Self {
        self.line(known, value, None)
    }

    /// Adds a field with a gap between what was checked.
    #[must_use]
    pub fn with_gap(self, known: Known, before: &[&str], after: &[&str]) -> Self {
        self.line(known, before, Some(after))
    }

    fn line(mut self, known: Known, before: &[&str], after: Option<&[&str]>) -> Self {
        let beginning = known.beginning();
        let name_bytes = beginning.len().checked_sub(COLON.len());
        let Some(name_bytes) = name_bytes.and_then(|bytes| u16::try_from(bytes).ok()) else {
            debug_assert!(false, "a line of a stencil has a known name");
            return self;
        };
        if self.lines.is_empty() {
            self.lines.reserve_exact(USUAL.0);
            self.text.reserve_exact(USUAL.1);
        }
        // A text that is longer fits into no head.
        let place = |text: &[u8]| u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.text.extend_from_slice(beginning);
        for part in before {
            self.text.extend_from_slice(part.as_bytes());
        }
        let gap = after.map(|_| place(&self.text));
        for part in after.unwrap_or_default() {
            self.text.extend_from_slice(part.as_bytes());
        }
        self.text.extend_from_slice(LINE_END);
        self.lines.push(StencilLine {
            known,
            name_bytes,
            end: place(&self.text),
            gap,
        });
        self
    }
}
