//! Header and trailer fields as one run of bytes with an index.

use std::fmt;

use super::KEPT_BYTES_MAX;
use super::known::{Known, KnownSet};
use super::line::{COLON, LINE_END, Line, is_token, is_value, splits};
use super::stencil::Stencil;

#[cfg(test)]
mod tests;

/// A name or value that may not stand in a head. The fault of whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The name is no token (RFC 9110, section 5.6.2).
    #[error("a field name is not a token")]
    Name,
    /// The value holds a control character, or ends in blanks.
    #[error("a field value holds a forbidden character")]
    Value,
    /// Over 16 MiB in all.
    #[error("the fields are too large")]
    TooLarge,
}

/// One field, borrowed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as received; compare without regard to case.
    pub name: &'a str,
    /// The value, without blanks around it.
    pub value: &'a [u8],
    /// The name, recognised.
    pub known: Known,
}

/// An ordered list of fields. Names keep their spelling and compare without case.
///
/// The text is what goes over the wire of HTTP/1, so that most of it is copied in and out
/// by whole runs of lines. What no line points at is never written.
#[derive(Clone, Default)]
pub struct Fields {
    text: Vec<u8>,
    lines: Vec<Line>,
    /// Every known name that a line may have: most questions end here.
    seen: KnownSet,
}

/// Most bytes of a field's name.
pub const NAME_BYTES_MAX: usize = 256;
/// Most bytes that one head's fields may take together; far above any sane limit.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// Fields of a usual head.
const USUAL_LINES: usize = 16;
/// Bytes of a usual field.
const USUAL_LINE_BYTES: usize = 48;

impl Fields {
    /// Forgets all fields and keeps the memory, unless it is more than a usual head needs.
    pub fn clear(&mut self) {
        if self.text.capacity() > KEPT_BYTES_MAX {
            *self = Self::default();
            return;
        }
        self.text.clear();
        self.lines.clear();
        self.seen = KnownSet::default();
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds a field after checking it.
    ///
    /// # Errors
    /// [`FieldError`] if name or value may not stand in a head.
    pub fn push(&mut self, name: &str, value: &[u8]) -> Result<(), FieldError> {
        if !is_token(name.as_bytes()) {
            return Err(FieldError::Name);
        }
        if !is_value(value) {
            return Err(FieldError::Value);
        }
        self.push_checked(name, value)
    }

    /// Adds a field whose name and value a parser has already checked.
    ///
    /// # Errors
    /// [`FieldError::TooLarge`] when the sum is out of bounds.
    pub fn push_checked(&mut self, name: &str, value: &[u8]) -> Result<(), FieldError> {
        self.push_recognised(Known::of(name), name, value)
    }

    /// Adds a field that a parser has checked and recognised: `known` is [`Known::of`] `name`.
    ///
    /// # Errors
    /// [`FieldError::TooLarge`] when the sum is out of bounds.
    pub fn push_recognised(
        &mut self,
        known: Known,
        name: &str,
        value: &[u8],
    ) -> Result<(), FieldError> {
        debug_assert!(!splits(name.as_bytes()) && !splits(value));
        let line = self.line(name.len(), name.len() + COLON.len() + value.len())?;
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(COLON);
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(LINE_END);
        self.add(Line { known, ..line });
        Ok(())
    }

    /// Adds a field of a known name, spelt in lower case, whose value comes in parts that were
    /// checked. A field of [`Known::Other`] has no name to add, and is not.
    ///
    /// # Errors
    /// [`FieldError::TooLarge`] when the sum is out of bounds.
    pub fn push_known(&mut self, known: Known, value: &[&[u8]]) -> Result<(), FieldError> {
        let beginning = known.beginning();
        let Some(name_bytes) = beginning.len().checked_sub(COLON.len()) else {
            return Err(FieldError::Name);
        };
        let value_bytes: usize = value.iter().map(|part| part.len()).sum();
        let line = self.line(name_bytes, beginning.len() + value_bytes)?;
        self.text.extend_from_slice(beginning);
        for part in value {
            debug_assert!(!splits(part));
            self.text.extend_from_slice(part);
        }
        self.text.extend_from_slice(LINE_END);
        self.add(Line {
            known,
            is_ours: true,
            ..line
        });
        Ok(())
    }

    /// Adds the fields of a stencil. `gaps` are the values that were checked for its gaps, in
    /// order; one that is missing is empty.
    ///
    /// # Errors
    /// [`FieldError::TooLarge`] when the sum is out of bounds; then none is added.
    pub fn push_stencil(&mut self, stencil: &Stencil, gaps: &[&[u8]]) -> Result<(), FieldError> {
        let filled: usize = gaps.iter().map(|gap| gap.len()).sum();
        self.reserve(stencil.text.len() + filled)?;
        let first = u32::try_from(self.text.len()).map_err(|_| FieldError::TooLarge)?;
        let mut gaps = gaps.iter();
        let mut copied = 0;
        // How much further a line is here than in the stencil.
        let (mut start, mut shift) = (first, first);
        self.lines.extend(stencil.lines.iter().map(|cut| {
            if let Some(at) = cut.gap {
                let at = at as usize;
                let gap = gaps.next().copied().unwrap_or_default();
                debug_assert!(!splits(gap));
                self.text.extend_from_slice(&stencil.text[copied..at]);
                self.text.extend_from_slice(gap);
                copied = at;
                // There is room for all: no gap is longer than that.
                shift += u32::try_from(gap.len()).unwrap_or_default();
            }
            let line = Line {
                start,
                end: cut.end + shift,
                name_bytes: cut.name_bytes,
                known: cut.known,
                is_ours: true,
            };
            self.seen = self.seen.with(cut.known);
            start = line.end;
            line
        }));
        self.text.extend_from_slice(&stencil.text[copied..]);
        Ok(())
    }

    /// Copies lines of a head as they came. They are no fields before [`Self::push_kept`] says
    /// so of each. The answer is where they begin.
    ///
    /// # Errors
    /// [`FieldError::TooLarge`] when the sum is out of bounds.
    pub fn keep(&mut self, lines: &[u8]) -> Result<usize, FieldError> {
        let start = self.text.len();
        self.reserve(lines.len())?;
        self.text.extend_from_slice(lines);
        Ok(start)
    }

    /// Adds a field as [`Self::push_recognised`] does, whose line begins `at` that place of what
    /// [`Self::keep`] copied. A line that is spelt as we do, with one blank, stays where it is;
    /// of any other, name and value are copied.
    ///
    /// # Errors
    /// [`FieldError::TooLarge`] when the sum is out of bounds.
    pub fn push_kept(
        &mut self,
        known: Known,
        at: usize,
        name: &str,
        value: &[u8],
    ) -> Result<(), FieldError> {
        let name_end = at + name.len();
        let value_start = name_end + COLON.len();
        let value_end = value_start + value.len();
        let end = value_end + LINE_END.len();
        // As long as the value and without blanks around it, it can't be anything else.
        if self.text.get(name_end..value_start) != Some(COLON)
            || self.text.get(value_end..end) != Some(LINE_END)
        {
            return self.push_recognised(known, name, value);
        }
        debug_assert_eq!(self.text.get(at..name_end), Some(name.as_bytes()));
        debug_assert_eq!(self.text.get(value_start..value_end), Some(value));
        let line = Line::new(at..end, name.len())?;
        self.add(Line { known, ..line });
        Ok(())
    }

    /// The line of a field that comes next, of so many bytes before its end, for which there is
    /// room then.
    fn line(&mut self, name_bytes: usize, bytes: usize) -> Result<Line, FieldError> {
        let (start, bytes) = (self.text.len(), bytes + LINE_END.len());
        let line = Line::new(start..start + bytes, name_bytes)?;
        self.reserve(bytes)?;
        Ok(line)
    }

    fn add(&mut self, line: Line) {
        self.seen = self.seen.with(line.known);
        self.lines.push(line);
    }

    /// Makes room for so many bytes of text: at first, for a usual head at once.
    fn reserve(&mut self, bytes: usize) -> Result<(), FieldError> {
        if self.text.len() + bytes > TEXT_BYTES_MAX {
            return Err(FieldError::TooLarge);
        }
        if self.text.capacity() == 0 {
            self.text.reserve(USUAL_LINES * USUAL_LINE_BYTES);
            self.lines.reserve(USUAL_LINES);
        }
        self.text.reserve(bytes);
        Ok(())
    }

    /// Writes all fields but those of the names in `skipped`, as lines that end in CRLF.
    pub fn write(&self, out: &mut Vec<u8>, skipped: KnownSet) {
        let skips = self.seen.intersects(skipped);
        // Lines that stand one behind the other are copied together.
        let (mut start, mut end) = (0, 0);
        for line in &self.lines {
            if skips && skipped.has(line.known) {
                continue;
            }
            if line.start != end {
                out.extend_from_slice(&self.text[start as usize..end as usize]);
                start = line.start;
            }
            end = line.end;
        }
        out.extend_from_slice(&self.text[start as usize..end as usize]);
    }

    /// Removes every field of that name and adds one.
    ///
    /// # Errors
    /// [`FieldError`] if name or value may not stand in a head; nothing is changed then.
    pub fn set(&mut self, name: &str, value: &[u8]) -> Result<(), FieldError> {
        if !is_token(name.as_bytes()) {
            return Err(FieldError::Name);
        }
        if !is_value(value) {
            return Err(FieldError::Value);
        }
        self.remove(name);
        self.push_checked(name, value)
    }

    /// The value of the first field of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The values of all fields of that name, in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.lines
            .iter()
            .filter(move |line| line.is_named(&self.text, name))
            .map(|line| line.value(&self.text))
    }

    /// The value of the first field of that known name.
    #[must_use]
    pub fn known(&self, known: Known) -> Option<&[u8]> {
        self.all_known(known).next()
    }

    /// The values of all fields of that known name, in order.
    pub fn all_known(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let lines = if self.seen.has(known) {
            self.lines.as_slice()
        } else {
            &[]
        };
        lines
            .iter()
            .filter(move |line| line.known == known)
            .map(|line| line.value(&self.text))
    }

    /// Whether there may be a field of one of these names: `false` is certain.
    #[must_use]
    pub fn may_have(&self, names: impl Into<KnownSet>) -> bool {
        self.seen.intersects(names.into())
    }

    /// Removes every field of that name. Says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let (before, text) = (self.lines.len(), &self.text);
        self.lines.retain(|line| !line.is_named(text, name));
        self.lines.len() != before
    }

    /// Removes every field of these known names. Says whether there was one.
    pub fn remove_known(&mut self, names: impl Into<KnownSet>) -> bool {
        let names = names.into();
        if !self.seen.intersects(names) {
            return false;
        }
        let before = self.lines.len();
        self.lines.retain(|line| !names.has(line.known));
        self.seen = self.seen.without(names);
        self.lines.len() != before
    }

    /// Keeps the fields that `keep` wants. Says whether one went.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) -> bool {
        let (before, text) = (self.lines.len(), &self.text);
        self.lines.retain(|line| keep(line.field(text)));
        self.lines.len() != before
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().map(|line| line.field(&self.text))
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |field: Field<'_>| String::from_utf8_lossy(field.value).into_owned();
        f.debug_map()
            .entries(self.iter().map(|field| (field.name, value(field))))
            .finish()
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.lines.len() == other.lines.len()
            && self
                .iter()
                .zip(other.iter())
                .all(|(a, b)| a.name.eq_ignore_ascii_case(b.name) && a.value == b.value)
    }
}
