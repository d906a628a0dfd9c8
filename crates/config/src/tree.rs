//! Text to a tree in which everything knows its place.
//!
//! YAML 1.2, of which JSON is a part. Scalars keep their text: what asks for them
//! decides whether `1.10` is a version or a number. Nothing is resolved but aliases,
//! whose copies count against the limit of nodes, so that a few lines can't grow
//! into gigabytes.

mod build;

use serde_json::{Map, Number, Value as Json};

pub(crate) use build::parse;

/// Largest configuration, in bytes: about fifty thousand routes.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
/// Most scalars, lists and maps in a configuration, copies by aliases included.
pub const NODES_MAX: usize = 1_000_000;
/// Deepest nesting of lists and maps.
pub const DEPTH_MAX: usize = 64;

/// A place in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// Counted from 1; 0 if it is nowhere in a text.
    pub(crate) line: usize,
    /// Counted from 1, in characters.
    pub(crate) column: usize,
    /// First byte.
    pub(crate) start: usize,
    /// One past the last byte.
    pub(crate) end: usize,
}

/// A part of a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
    /// No error was found in it.
    pub(crate) is_sound: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Member>),
}

#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// The text before the environment was put in, if it was.
    pub(crate) written: Option<String>,
    /// Written without quotes: it may be a number, a flag or nothing.
    pub(crate) is_plain: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) node: Node,
    /// Says what would hold without it.
    pub(crate) is_default: bool,
}

impl Member {
    pub(crate) const fn new(key: String, key_span: Span, node: Node) -> Self {
        Self {
            key,
            key_span,
            node,
            is_default: false,
        }
    }
}

impl Node {
    pub(crate) fn text(span: Span, text: &str, is_plain: bool) -> Self {
        let scalar = Scalar {
            text: text.to_owned(),
            written: None,
            is_plain,
        };
        Self {
            span,
            value: Value::Scalar(scalar),
            is_sound: true,
        }
    }

    pub(crate) fn list(span: Span, items: Vec<Self>) -> Self {
        let is_sound = items.iter().all(|item| item.is_sound);
        Self {
            span,
            value: Value::List(items),
            is_sound,
        }
    }

    pub(crate) fn map(span: Span, members: Vec<Member>) -> Self {
        let is_sound = members.iter().all(|member| member.node.is_sound);
        Self {
            span,
            value: Value::Map(members),
            is_sound,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar)
            if scalar.is_plain && matches!(scalar.text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The place that a JSON pointer leads to, as far as it does: the scalar, or the key of
    /// what has several lines. `None` if that is the node itself and it is no scalar.
    pub(crate) fn at_pointer(&self, pointer: &str) -> Option<Span> {
        let (mut node, mut key_span) = (self, None);
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            let next = match &node.value {
                Value::Map(members) => members
                    .iter()
                    .find(|member| member.key == part)
                    .map(|member| (&member.node, Some(member.key_span))),
                Value::List(items) => {
                    let item = part.parse().ok().and_then(|at: usize| items.get(at));
                    item.map(|item| (item, Some(item.span)))
                }
                Value::Scalar(_) => None,
            };
            let Some(next) = next else { break };
            (node, key_span) = next;
        }
        match node.value {
            Value::Scalar(_) if !node.span_is_empty() => Some(node.span),
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => key_span,
        }
    }

    fn span_is_empty(&self) -> bool {
        self.span.start == self.span.end
    }

    /// The same as JSON, by the core schema of YAML 1.2.
    pub(crate) fn to_json(&self) -> Json {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_plain => json_of_plain(&scalar.text),
            Value::Scalar(scalar) => Json::String(scalar.text.clone()),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(members) => {
                let pair = |member: &Member| (member.key.clone(), member.node.to_json());
                Json::Object(members.iter().map(pair).collect::<Map<_, _>>())
            }
        }
    }

    /// The same as JSON without defaults, and with references to the environment as they
    /// were written.
    pub(crate) fn to_json_as_written(&self) -> Json {
        match &self.value {
            Value::Scalar(Scalar {
                written: Some(written),
                ..
            }) => Json::String(written.clone()),
            Value::Scalar(_) => self.to_json(),
            Value::List(items) => items.iter().map(Self::to_json_as_written).collect(),
            Value::Map(members) => {
                let said = members.iter().filter(|member| !member.is_default);
                let pair = |member: &Member| (member.key.clone(), member.node.to_json_as_written());
                Json::Object(said.map(pair).collect::<Map<_, _>>())
            }
        }
    }

    /// A JSON value as a tree that is nowhere in a text.
    pub(crate) fn from_json(value: &Json) -> Self {
        let span = Span::default();
        match value {
            Json::Null => Self::text(span, "null", true),
            Json::Bool(_) | Json::Number(_) => Self::text(span, &value.to_string(), true),
            Json::String(text) => Self::text(span, text, false),
            Json::Array(items) => Self::list(span, items.iter().map(Self::from_json).collect()),
            Json::Object(members) => {
                let member = |(key, value): (&String, &Json)| {
                    Member::new(key.clone(), span, Self::from_json(value))
                };
                Self::map(span, members.iter().map(member).collect())
            }
        }
    }
}

/// The core schema of YAML 1.2, section 10.3.
fn json_of_plain(text: &str) -> Json {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Json::Null,
        "true" | "True" | "TRUE" => return Json::Bool(true),
        "false" | "False" | "FALSE" => return Json::Bool(false),
        _ => {}
    }
    let radix = |prefix: &str, radix| {
        text.strip_prefix(prefix)
            .and_then(|digits| u64::from_str_radix(digits, radix).ok())
    };
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Json::from(number);
    }
    let is_number = text.bytes().any(|byte| byte.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let digits = text.strip_prefix('+').unwrap_or(text);
    let number = if !is_number {
        None
    } else if let Ok(number) = digits.parse::<i64>() {
        Some(Number::from(number))
    } else if let Ok(number) = digits.parse::<u64>() {
        Some(Number::from(number))
    } else {
        digits.parse().ok().and_then(Number::from_f64)
    };
    number.map_or_else(|| Json::String(text.to_owned()), Json::Number)
}

#[cfg(test)]
mod tests;
