//! A document, JSON or XML, as one small tree of texts.
//!
//! Both formats say the same with the same names, and both are written in several
//! manners: numbers as texts, one object where a list is meant, attributes or keys with
//! `@`. In this tree all of them look alike, so that one reader understands them. A list
//! is a member that is there several times; `null` is a member that is not there.

/// How deep a document may be nested. Replication batches need six.
pub const DEPTH_MAX: usize = 16;
/// Values in a document that a server takes: a batch of instances with all that they may say.
pub const NODES_MAX: usize = 131_072;
/// Values in a list that a client takes: those of [`INSTANCES_MAX`] instances.
pub const LIST_NODES_MAX: usize = 10_000_000;
/// Instances in a list that a client takes.
pub const INSTANCES_MAX: usize = 100_000;
/// The longest single text, in bytes.
pub const TEXT_BYTES_MAX: usize = 16_384;

/// A document that can't be read. The sender's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not JSON, or over a limit.
    #[error("not readable as JSON: {0}")]
    Json(String),
    /// It is not XML, or over a limit.
    #[error("not readable as XML: {0}")]
    Xml(String),
    /// It is something else than it should be.
    #[error("{0}")]
    Shape(String),
}

/// A value of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// What it says itself, if anything.
    pub(super) text: Option<Box<str>>,
    /// What is in it.
    pub(super) members: Vec<(Box<str>, Node)>,
}

impl Node {
    pub(super) fn leaf(text: impl Into<Box<str>>) -> Self {
        Self {
            text: Some(text.into()),
            members: Vec::new(),
        }
    }

    /// The first member of a name.
    pub(super) fn find(&self, name: &str) -> Option<&Self> {
        let mut members = self.members.iter();
        let found = members.find(|(given, _)| **given == *name);
        found.map(|(_, node)| node)
    }

    /// All members of a name: the items of a list.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        let members = self.members.iter();
        members
            .filter(move |(given, _)| **given == *name)
            .map(|(_, node)| node)
    }

    /// Its text, also that of an object which has attributes besides.
    pub(super) fn content(&self) -> Option<&str> {
        let text = self.text.as_deref();
        text.or_else(|| self.find("$").and_then(|inner| inner.text.as_deref()))
    }

    /// The text of a member.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.find(name).and_then(Self::content)
    }
}

/// What a document may still have.
#[derive(Debug)]
pub(super) struct Budget {
    nodes: usize,
    max: usize,
}

impl Budget {
    /// For a document of so many values at most.
    pub(super) const fn new(max: usize) -> Self {
        Self { nodes: max, max }
    }

    /// Takes one more value in.
    pub(super) fn take(&mut self) -> Result<(), String> {
        match self.nodes.checked_sub(1) {
            Some(left) => {
                self.nodes = left;
                Ok(())
            }
            None => Err(format!("more than {} values", self.max)),
        }
    }
}

/// Refuses what is nested too deeply.
pub(super) fn check_depth(depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("nested deeper than {DEPTH_MAX}"));
    }
    Ok(())
}

/// Refuses a text that is too long.
pub(super) fn check_text(text: &str) -> Result<(), String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("a text of more than {TEXT_BYTES_MAX} bytes"));
    }
    Ok(())
}
