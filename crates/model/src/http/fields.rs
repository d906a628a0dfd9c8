//! Header and trailer fields as one run of bytes with an index.

use std::fmt;

use super::known::Known;

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

#[derive(Clone, Copy)]
struct Line {
    name_start: u32,
    /// 0 if the name is that of `known`, spelt in lower case.
    name_bytes: u16,
    known: Known,
    value_start: u32,
    value_bytes: u32,
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
#[derive(Clone, Default)]
pub struct Fields {
    names: String,
    values: Vec<u8>,
    lines: Vec<Line>,
}

/// Most bytes of a field's name.
pub const NAME_BYTES_MAX: usize = 256;
/// Most bytes that one head's fields may take together; far above any sane limit.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// Fields of a usual head.
const USUAL_LINES: usize = 16;

impl Fields {
    /// Forgets all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.names.clear();
        self.values.clear();
        self.lines.clear();
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
        let line = self.line(known, name.len(), value.len())?;
        self.names.push_str(name);
        self.values.extend_from_slice(value);
        self.lines.push(line);
        Ok(())
    }

    /// Adds a field of a known name, spelt in lower case, whose value comes in parts that were
    /// checked. A field of [`Known::Other`] has no name to add, and is not.
    ///
    /// # Errors
    /// [`FieldError::TooLarge`] when the sum is out of bounds.
    pub fn push_known(&mut self, known: Known, value: &[&[u8]]) -> Result<(), FieldError> {
        if known == Known::Other {
            return Err(FieldError::Name);
        }
        let bytes = value.iter().map(|part| part.len()).sum();
        // The name is where it is for all: nothing is copied.
        let line = self.line(known, 0, bytes)?;
        for part in value {
            self.values.extend_from_slice(part);
        }
        self.lines.push(line);
        Ok(())
    }

    /// The line of a field that comes next.
    fn line(
        &mut self,
        known: Known,
        name_bytes: usize,
        value_bytes: usize,
    ) -> Result<Line, FieldError> {
        if self.lines.len() == self.lines.capacity() {
            self.make_room();
        }
        let (name_start, value_start) = (self.names.len(), self.values.len());
        if name_start + value_start + name_bytes + value_bytes > TEXT_BYTES_MAX {
            return Err(FieldError::TooLarge);
        }
        let (Ok(name_start), Ok(name_bytes), Ok(value_start), Ok(value_bytes)) = (
            u32::try_from(name_start),
            u16::try_from(name_bytes),
            u32::try_from(value_start),
            u32::try_from(value_bytes),
        ) else {
            return Err(FieldError::TooLarge);
        };
        Ok(Line {
            name_start,
            name_bytes,
            known,
            value_start,
            value_bytes,
        })
    }

    /// Takes memory for a usual head at once, or twice as much.
    #[cold]
    fn make_room(&mut self) {
        if self.lines.capacity() > 0 {
            return self.lines.reserve(self.lines.len());
        }
        self.lines.reserve(USUAL_LINES);
        self.names.reserve(USUAL_LINES * 16);
        self.values.reserve(USUAL_LINES * 32);
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
        self.iter()
            .find(|f| f.name.eq_ignore_ascii_case(name))
            .map(|f| f.value)
    }

    /// The values of all fields of that name, in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |f| f.name.eq_ignore_ascii_case(name))
            .map(|f| f.value)
    }

    /// The value of the first field of that known name.
    #[must_use]
    pub fn known(&self, known: Known) -> Option<&[u8]> {
        self.all_known(known).next()
    }

    /// The values of all fields of that known name, in order.
    pub fn all_known(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.lines
            .iter()
            .filter(move |line| line.known == known)
            .map(|line| self.field(line).value)
    }

    /// Removes every field of that name. Says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.retain(|field| !field.name.eq_ignore_ascii_case(name))
    }

    /// Removes every field of that known name. Says whether there was one.
    pub fn remove_known(&mut self, known: Known) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| line.known != known);
        self.lines.len() != before
    }

    /// Keeps the fields whose names, as far as they are known, `keep` wants.
    pub fn retain_known(&mut self, mut keep: impl FnMut(Known) -> bool) {
        self.lines.retain(|line| keep(line.known));
    }

    /// Keeps the fields that `keep` wants. Says whether one went.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) -> bool {
        let before = self.lines.len();
        let (names, values) = (&self.names, &self.values);
        self.lines
            .retain(|line| keep(field_of(names, values, line)));
        self.lines.len() != before
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().map(|line| self.field(line))
    }

    fn field(&self, line: &Line) -> Field<'_> {
        field_of(&self.names, &self.values, line)
    }
}

fn field_of<'a>(names: &'a str, values: &'a [u8], line: &Line) -> Field<'a> {
    let (name, value) = (line.name_start as usize, line.value_start as usize);
    Field {
        name: match line.name_bytes {
            0 => line.known.as_str(),
            bytes => &names[name..name + usize::from(bytes)],
        },
        value: &values[value..value + line.value_bytes as usize],
        known: line.known,
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

/// Whether `value` may stand in a field: no control character but tab, and no
/// blank at either end (RFC 9110, section 5.5).
fn is_value(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let allowed = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    value.iter().all(allowed) && !blank(value.first()) && !blank(value.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_order_and_ignore_case() {
        let mut fields = Fields::default();
        fields.push("Host", b"a").unwrap();
        fields.push("X-A", b"1").unwrap();
        fields.push("x-a", b"2").unwrap();
        assert_eq!(fields.known(Known::Host), Some(&b"a"[..]));
        assert_eq!(fields.get_all("X-a").collect::<Vec<_>>(), [b"1", b"2"]);
        fields.set("x-A", b"3").unwrap();
        assert_eq!(fields.get_all("x-a").collect::<Vec<_>>(), [b"3"]);
        assert!(fields.remove_known(Known::Host));
        assert!(!fields.remove("host"));
    }

    #[test]
    fn known_names_are_recognised_in_any_case() {
        for known in Known::ALL {
            let name = known.as_str();
            assert_eq!(Known::of(name), *known);
            assert_eq!(Known::of(&name.to_ascii_uppercase()), *known);
            assert_eq!(Known::of(&format!("{name}x")), Known::Other);
        }
        for name in ["", "a", "Hosts", "x-forwarded-fox", "\u{e4}\u{20ac}"] {
            assert_eq!(Known::of(name), Known::Other, "{name}");
        }
    }

    #[test]
    fn a_known_field_is_added_without_its_name() {
        let mut fields = Fields::default();
        fields.push("X-A", b"1").unwrap();
        fields.push_known(Known::Via, &[b"2 ", b"", b"us"]).unwrap();
        fields.push("x-b", b"2").unwrap();
        let lines: Vec<_> = fields
            .iter()
            .map(|field| (field.name, field.value))
            .collect();
        let expected: [(&str, &[u8]); 3] = [("X-A", b"1"), ("via", b"2 us"), ("x-b", b"2")];
        assert_eq!(lines, expected);
        assert_eq!(fields.get("Via"), Some(&b"2 us"[..]));
        assert!(fields.remove("VIA"));
        let nameless = fields.push_known(Known::Other, &[b"1"]);
        assert_eq!(nameless, Err(FieldError::Name));
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn what_would_split_a_head_is_refused() {
        let mut fields = Fields::default();
        assert_eq!(fields.push("a b", b""), Err(FieldError::Name));
        assert_eq!(fields.push("", b""), Err(FieldError::Name));
        for bad in [&b"a\r\nb: c"[..], b"a\0", b" a", b"a\t", b"\x7f"] {
            assert_eq!(fields.push("a", bad), Err(FieldError::Value), "{bad:?}");
        }
        assert!(fields.push("a", "grüße\tx".as_bytes()).is_ok());
    }
}
