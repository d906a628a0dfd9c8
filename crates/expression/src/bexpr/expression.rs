//! What a filter says, and how it is written.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use crate::quoted::write_quoted;

/// Memory that one compiled pattern may take: the slowest search visits all of it for each byte
/// of a text.
const PATTERN_BYTES_MAX: usize = 16 << 10;
/// Memory for what a search has learnt. With less, even simple patterns are slow.
const SEARCH_BYTES_MAX: usize = 256 << 10;

/// A condition over an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// One of these holds; there are at least two.
    Any(Vec<Self>),
    /// All of these hold; there are at least two.
    All(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// A test of one value; `is_negated` turns it round.
    Test {
        /// Which value.
        selector: Selector,
        /// What is asked about it.
        test: Test,
        /// Whether the opposite is asked.
        is_negated: bool,
    },
    /// A condition over the elements of a list or map.
    Each {
        /// Whether one or every element must fulfil it.
        quantifier: Quantifier,
        /// Which list or map.
        selector: Selector,
        /// The name of the index or key, and that of the element; with one name only, a
        /// list's stands for the element and a map's for the key.
        names: (String, Option<String>),
        /// The condition.
        body: Box<Self>,
    },
}

/// How many elements must fulfil a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantifier {
    /// One at least.
    Any,
    /// Every one.
    All,
}

/// Which value of an object: the names on the way to it, never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(pub(super) Vec<String>);

/// What is asked about a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Equal to this.
    Equal(String),
    /// Has this as an element, key or part.
    Contains(String),
    /// Matches this.
    Matches(Pattern),
    /// Has no element, or is not there.
    Empty,
    /// Is not there.
    Nil,
}

/// A regular expression. Two are equal if they are written alike.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    compiled: Regex,
}

impl Pattern {
    /// Compiles a pattern; `None` if it is not one, or is too large.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        // Classes are those of ASCII, as RE2 has them.
        let compiled = RegexBuilder::new(text)
            .unicode(false)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(SEARCH_BYTES_MAX)
            .build()
            .ok()?;
        Some(Self {
            text: text.to_owned(),
            compiled,
        })
    }

    /// What its groups match in a text, the whole first; those that match nothing are empty.
    /// Nothing if it does not match at all.
    #[must_use]
    pub fn groups(&self, text: &str) -> Vec<String> {
        let found = self.compiled.captures(text.as_bytes());
        let groups = found.iter().flat_map(|found| found.iter());
        let texts = groups.map(|group| group.map_or(&[][..], |group| group.as_bytes()));
        texts
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect()
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text.as_bytes())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Selector {
    /// From the names on the way; `None` if there is none.
    #[must_use]
    pub fn new(names: Vec<String>) -> Option<Self> {
        (!names.is_empty()).then_some(Self(names))
    }

    pub(super) fn names(&self) -> &[String] {
        &self.0
    }
}

pub(super) fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = self.0.iter();
        match names.next() {
            Some(first) if is_identifier(first) && !is_keyword(first) => f.write_str(first)?,
            Some(_) | None => return self.write_pointer(f),
        }
        for name in names {
            if is_identifier(name) {
                write!(f, ".{name}")?;
            } else {
                f.write_str("[")?;
                write_quoted(f, name)?;
                f.write_str("]")?;
            }
        }
        Ok(())
    }
}

impl Selector {
    fn write_pointer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pointer = String::new();
        for name in &self.0 {
            pointer.push('/');
            pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        }
        write_quoted(f, &pointer)
    }
}

/// Words that begin something else when a selector is expected.
fn is_keyword(word: &str) -> bool {
    matches!(word, "not" | "any" | "all")
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(parts) => join(f, parts, " or "),
            Self::All(parts) => join(f, parts, " and "),
            Self::Not(inner) => {
                f.write_str("not ")?;
                inner.write_atom(f)
            }
            Self::Test {
                selector,
                test,
                is_negated,
            } => {
                write!(f, "{selector} {}", test.operator(*is_negated))?;
                match test {
                    Test::Equal(value) | Test::Contains(value) => {
                        f.write_str(" ")?;
                        write_quoted(f, value)
                    }
                    Test::Matches(pattern) => {
                        f.write_str(" ")?;
                        write_quoted(f, &pattern.text)
                    }
                    Test::Empty | Test::Nil => Ok(()),
                }
            }
            Self::Each {
                quantifier,
                selector,
                names: (first, second),
                body,
            } => {
                let word = match quantifier {
                    Quantifier::Any => "any",
                    Quantifier::All => "all",
                };
                write!(f, "{word} {selector} as {first}")?;
                if let Some(second) = second {
                    write!(f, ", {second}")?;
                }
                write!(f, " {{ {body} }}")
            }
        }
    }
}

impl Expression {
    /// Writes it so that it stays one part of a larger expression.
    fn write_atom(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(_) | Self::All(_) => write!(f, "({self})"),
            Self::Not(_) | Self::Test { .. } | Self::Each { .. } => write!(f, "{self}"),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, parts: &[Expression], word: &str) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(word)?;
        }
        part.write_atom(f)?;
    }
    Ok(())
}

impl Test {
    pub(super) const fn operator(&self, is_negated: bool) -> &'static str {
        match (self, is_negated) {
            (Self::Equal(_), false) => "==",
            (Self::Equal(_), true) => "!=",
            (Self::Contains(_), false) => "contains",
            (Self::Contains(_), true) => "not contains",
            (Self::Matches(_), false) => "matches",
            (Self::Matches(_), true) => "not matches",
            (Self::Empty, false) => "is empty",
            (Self::Empty, true) => "is not empty",
            (Self::Nil, false) => "is nil",
            (Self::Nil, true) => "is not nil",
        }
    }
}
