//! What a program says, and how it is written.

use std::fmt;

use regex::{Regex, RegexBuilder, bytes};

use super::{functions::Function, value::text_steps};
use crate::quoted::write_quoted;

/// Memory that one compiled pattern may take: little more than `\w` of Unicode does.
const PATTERN_BYTES_MAX: usize = 64 << 10;
/// Memory for what a search has learnt. With less, even simple patterns are slow.
const SEARCH_BYTES_MAX: usize = 256 << 10;
/// Sizes that patterns are told apart by. They are found by trying, so they are few.
const SIZES: [usize; 4] = [1 << 10, 4 << 10, 16 << 10, PATTERN_BYTES_MAX];
/// Bytes of a compiled pattern that cost a step for each 16 bytes of text. The slowest search
/// visits all of them for each byte; a step is then about 300 ns.
const BYTES_PER_STEP: usize = 64;

/// A part of a program. Two are equal if they say the same, wherever they stand.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it stands, in characters; the first is 1.
    pub(super) column: usize,
    /// How deep it is nested.
    pub(super) depth: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    List(Vec<Node>),
    /// A field of the object, or the name of an element.
    Name(String),
    Select(Box<Node>, String),
    /// Whether there is such a field.
    Has(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
    Matches(Box<Node>, Pattern),
    /// Something about every element.
    Each(Box<Each>),
    Not(Box<Node>),
    Negate(Box<Node>),
    /// One of these holds; there are at least two.
    Any(Vec<Node>),
    /// All of these hold; there are at least two.
    All(Vec<Node>),
    Binary(Operator, Box<[Node; 2]>),
    /// The second if the first holds, otherwise the third.
    Choice(Box<[Node; 3]>),
}

/// A macro over the elements of a list or the keys of a map.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Each {
    pub(super) form: Form,
    pub(super) over: Node,
    /// What an element is called in the body.
    pub(super) name: String,
    pub(super) body: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A regular expression. Two are equal if they are written alike.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    compiled: Regex,
    /// Steps for each 16 bytes of a text.
    steps: u64,
}

impl Pattern {
    /// Compiles a pattern; `None` if it is not one, or is too large.
    pub(super) fn new(text: &str) -> Option<Self> {
        let compiled = RegexBuilder::new(text)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(SEARCH_BYTES_MAX)
            .build()
            .ok()?;
        let steps = (size(text) / BYTES_PER_STEP) as u64;
        let text = text.to_owned();
        Some(Self {
            text,
            compiled,
            steps,
        })
    }

    /// Steps that a text of that many bytes takes at worst.
    pub(super) fn steps(&self, bytes: usize) -> u64 {
        text_steps(bytes).saturating_mul(self.steps)
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }
}

/// The first of [`SIZES`] that a pattern fits into.
fn size(text: &str) -> usize {
    let fits = |is_unicode: bool, limit: usize| {
        let mut builder = bytes::RegexBuilder::new(text);
        let built = builder.unicode(is_unicode).size_limit(limit).build();
        built.is_ok()
    };
    // Classes of Unicode are large, but a search is in few of their states at a time: what counts
    // is the size without them, if the pattern means something without them.
    let of = |is_unicode| SIZES.into_iter().find(|limit| fits(is_unicode, *limit));
    let size = if fits(false, PATTERN_BYTES_MAX) {
        of(false)
    } else {
        of(true)
    };
    size.unwrap_or(PATTERN_BYTES_MAX)
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Form {
    pub(super) const ALL: [Self; 5] = [
        Self::All,
        Self::Exists,
        Self::ExistsOne,
        Self::Filter,
        Self::Map,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Exists => "exists",
            Self::ExistsOne => "exists_one",
            Self::Filter => "filter",
            Self::Map => "map",
        }
    }
}

impl Operator {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

impl Kind {
    /// How deep the deepest part of it is nested.
    pub(super) fn depth(&self) -> usize {
        let deepest = |nodes: &[Node]| nodes.iter().map(|node| node.depth).max().unwrap_or(0);
        match self {
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::Name(_) => 0,
            Self::List(nodes) | Self::Call(_, nodes) | Self::Any(nodes) | Self::All(nodes) => {
                deepest(nodes)
            }
            Self::Select(node, _)
            | Self::Has(node, _)
            | Self::Matches(node, _)
            | Self::Not(node)
            | Self::Negate(node) => node.depth,
            Self::Index(of, index) => of.depth.max(index.depth),
            Self::Each(each) => each.over.depth.max(each.body.depth),
            Self::Binary(_, nodes) => deepest(&**nodes),
            Self::Choice(nodes) => deepest(&**nodes),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Null => f.write_str("null"),
            Kind::Bool(bool) => write!(f, "{bool}"),
            Kind::Int(int) => write!(f, "{int}"),
            // With a point or an exponent, whatever the number.
            Kind::Double(double) => write!(f, "{double:?}"),
            Kind::Text(text) => write_quoted(f, text),
            Kind::List(nodes) => {
                f.write_str("[")?;
                join(f, nodes, ", ")?;
                f.write_str("]")
            }
            Kind::Name(name) => f.write_str(name),
            Kind::Select(of, field) => {
                of.write_atom(f)?;
                write!(f, ".{field}")
            }
            Kind::Has(of, field) => {
                f.write_str("has(")?;
                of.write_atom(f)?;
                write!(f, ".{field})")
            }
            Kind::Index(of, index) => {
                of.write_atom(f)?;
                write!(f, "[{index}]")
            }
            Kind::Call(function, arguments) => {
                let mut arguments = arguments.as_slice();
                if let ([receiver, rest @ ..], false) = (arguments, function.is_global()) {
                    receiver.write_atom(f)?;
                    f.write_str(".")?;
                    arguments = rest;
                }
                write!(f, "{}(", function.as_str())?;
                join(f, arguments, ", ")?;
                f.write_str(")")
            }
            Kind::Matches(of, pattern) => {
                of.write_atom(f)?;
                f.write_str(".matches(")?;
                write_quoted(f, &pattern.text)?;
                f.write_str(")")
            }
            Kind::Each(each) => {
                each.over.write_atom(f)?;
                write!(f, ".{}({}, {})", each.form.as_str(), each.name, each.body)
            }
            Kind::Not(node) => {
                f.write_str("!")?;
                node.write_atom(f)
            }
            Kind::Negate(node) => write!(f, "-({node})"),
            Kind::Any(nodes) => join(f, nodes, " || "),
            Kind::All(nodes) => join(f, nodes, " && "),
            Kind::Binary(operator, nodes) => join(f, &**nodes, &format!(" {} ", operator.as_str())),
            Kind::Choice(nodes) => {
                let [condition, yes, no] = &**nodes;
                condition.write_atom(f)?;
                f.write_str(" ? ")?;
                yes.write_atom(f)?;
                f.write_str(" : ")?;
                no.write_atom(f)
            }
        }
    }
}

impl Node {
    /// Writes it so that it stays one part of a larger expression.
    fn write_atom(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_atom = match &self.kind {
            Kind::Int(int) => *int >= 0,
            Kind::Double(double) => double.is_sign_positive(),
            Kind::Not(_)
            | Kind::Negate(_)
            | Kind::Any(_)
            | Kind::All(_)
            | Kind::Binary(..)
            | Kind::Choice(_) => false,
            Kind::Null
            | Kind::Bool(_)
            | Kind::Text(_)
            | Kind::List(_)
            | Kind::Name(_)
            | Kind::Select(..)
            | Kind::Has(..)
            | Kind::Index(..)
            | Kind::Call(..)
            | Kind::Matches(..)
            | Kind::Each(_) => true,
        };
        if is_atom {
            write!(f, "{self}")
        } else {
            write!(f, "({self})")
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, nodes: &[Node], between: &str) -> fmt::Result {
    for (index, node) in nodes.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        node.write_atom(f)?;
    }
    Ok(())
}
