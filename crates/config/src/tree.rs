//! Text to a tree in which everything knows its place.
//!
//! YAML 1.2, of which JSON is a part. Scalars keep their text: what asks for them
//! decides whether `1.10` is a version or a number. Nothing is resolved but aliases,
//! whose copies count against the limit of nodes, so that a few lines can't grow
//! into gigabytes.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use serde_json::{Map, Number, Value as Json};

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

/// The text is no configuration at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) help: Option<&'static str>,
}

impl Broken {
    fn new(span: Span, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            help: None,
        }
    }

    fn with_help(self, help: &'static str) -> Self {
        Self {
            help: Some(help),
            ..self
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

/// Reads a text. An empty one is an empty map.
pub(crate) fn parse(text: &str) -> Result<Node, Broken> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the configuration has more than {TEXT_BYTES_MAX} bytes");
        return Err(Broken::new(Span::default(), message));
    }
    // A mark that some editors put at the start of a file; it is no part of the text.
    let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::new(bare, text.len().saturating_sub(bare.len()));
    let mut parser = Parser::new_from_str(bare);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| builder.broken(&error))?;
        let span = builder.span(span.start, span.end);
        builder.take(event, span)?;
    }
    Ok(builder
        .root
        .unwrap_or_else(|| Node::map(Span::default(), Vec::new())))
}

/// A list or map that is not closed yet.
struct Open {
    anchor: usize,
    span: Span,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map(Vec<Member>, Option<(String, Span)>),
}

/// A node that aliases may copy.
struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

struct Builder<'a> {
    text: &'a str,
    /// Bytes before the text.
    skipped: usize,
    /// Characters and bytes up to the place that was last looked at.
    cursor: (usize, usize),
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    root: Option<Node>,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str, skipped: usize) -> Self {
        Self {
            text,
            skipped,
            cursor: (0, 0),
            open: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            root: None,
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Broken> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                let message = "a configuration is one document, and this is a second one";
                Err(Broken::new(span, message).with_help("remove the `---` line or the document"))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(anchor) => self.copy(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.as_deref(), span)?;
                let is_plain = matches!(style, ScalarStyle::Plain);
                self.count(1, span)?;
                let node = Node::text(span, &text, is_plain);
                self.close(node, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(anchor, tag.as_deref(), span, OpenKind::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => self.begin(
                anchor,
                tag.as_deref(),
                span,
                OpenKind::Map(Vec::new(), None),
            ),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn begin(
        &mut self,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
        kind: OpenKind,
    ) -> Result<(), Broken> {
        refuse_tag(tag, span)?;
        self.count(1, span)?;
        self.refuse_depth(1, span)?;
        self.open.push(Open { anchor, span, kind });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Broken> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let node = match open.kind {
            OpenKind::List(items) => Node::list(open.span, items),
            OpenKind::Map(members, _) => Node::map(open.span, members),
        };
        self.close(node, open.anchor)
    }

    /// Puts a whole node where it belongs.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), Broken> {
        if anchor != 0 {
            let (nodes, depth) = measure(&node);
            self.count(nodes, node.span)?;
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    nodes,
                    depth,
                },
            );
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.kind {
            OpenKind::List(items) => items.push(node),
            OpenKind::Map(members, key) => match (key.take(), node.value) {
                (Some((key, key_span)), value) => {
                    members.push(Member::new(key, key_span, Node { value, ..node }));
                }
                (None, Value::Scalar(scalar)) => *key = Some((scalar.text, node.span)),
                (None, Value::List(_) | Value::Map(_)) => {
                    let message = "a key is a text, not a list or a map";
                    return Err(Broken::new(node.span, message)
                        .with_help("put quotes around it if it begins with `{` or `[`"));
                }
            },
        }
        Ok(())
    }

    fn copy(&mut self, anchor: usize, span: Span) -> Result<(), Broken> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(Broken::new(span, "an alias stands within what it names"));
        };
        let (nodes, depth, node) = (anchored.nodes, anchored.depth, anchored.node.clone());
        self.refuse_depth(depth, span)?;
        self.count(nodes, span)?;
        self.close(node, 0)
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Broken> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= NODES_MAX {
            return Ok(());
        }
        let message =
            format!("the configuration has more than {NODES_MAX} values, aliases included");
        Err(Broken::new(span, message))
    }

    fn refuse_depth(&self, more: usize, span: Span) -> Result<(), Broken> {
        if self.open.len().saturating_add(more) <= DEPTH_MAX {
            return Ok(());
        }
        let message = format!("lists and maps are nested more than {DEPTH_MAX} deep");
        Err(Broken::new(span, message))
    }

    fn broken(&mut self, error: &ScanError) -> Broken {
        let span = self.span(*error.marker(), *error.marker());
        let broken = Broken::new(span, format!("not YAML: {}", error.info()));
        if error.info().contains("tab") {
            return broken.with_help("indent with spaces");
        }
        broken
    }

    fn span(&mut self, start: Marker, end: Marker) -> Span {
        let (line, column) = (start.line(), start.col().saturating_add(1));
        let start = self.byte_of(start.index());
        // A block ends where the next thing begins; blanks in between are not its own.
        let end = self.byte_of(end.index()).max(start);
        let inner = self.text.get(start..end).unwrap_or_default();
        let start = start.saturating_add(self.skipped);
        Span {
            line,
            column,
            start,
            end: start.saturating_add(inner.trim_end().len()),
        }
    }

    /// The byte at which the character with this index begins.
    fn byte_of(&mut self, index: usize) -> usize {
        let (mut characters, mut bytes) = self.cursor;
        if index >= characters {
            let rest = self.text.get(bytes..).unwrap_or_default();
            for character in rest.chars().take(index.saturating_sub(characters)) {
                characters = characters.saturating_add(1);
                bytes = bytes.saturating_add(character.len_utf8());
            }
        } else {
            let before = self.text.get(..bytes).unwrap_or_default();
            for character in before.chars().rev().take(characters.saturating_sub(index)) {
                characters = characters.saturating_sub(1);
                bytes = bytes.saturating_sub(character.len_utf8());
            }
        }
        self.cursor = (characters, bytes);
        bytes
    }
}

fn refuse_tag(tag: Option<&Tag>, span: Span) -> Result<(), Broken> {
    let Some(tag) = tag else { return Ok(()) };
    let message = format!("the tag `{}{}` has no meaning here", tag.handle, tag.suffix);
    Err(Broken::new(span, message).with_help("remove it; quotes make a text of a value"))
}

/// How many nodes a node has, itself included, and how deep its lists and maps go.
fn measure(node: &Node) -> (usize, usize) {
    let within = |(nodes, depth): (usize, usize), inner: &Node| {
        let (inner_nodes, inner_depth) = measure(inner);
        (inner_nodes.saturating_add(nodes), inner_depth.max(depth))
    };
    let (nodes, depth) = match &node.value {
        Value::Scalar(_) => return (1, 0),
        Value::List(items) => items.iter().fold((0, 0), within),
        Value::Map(members) => members
            .iter()
            .map(|member| &member.node)
            .fold((0, 0), within),
    };
    (nodes.saturating_add(1), depth.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn json(text: &str) -> Json {
        parse(text).unwrap().to_json()
    }

    #[test]
    fn yaml_and_json_make_the_same_tree() {
        let yaml = "a:\n  - 1\n  - x: true\n    y: '2'\n  - ~\nb: 1.5\nc: &n {d: -3}\ne: *n\n";
        let expected = json!({"a": [1, {"x": true, "y": "2"}, null], "b": 1.5, "c": {"d": -3}, "e": {"d": -3}});
        assert_eq!(json(yaml), expected);
        assert_eq!(json(&expected.to_string()), expected);
        assert_eq!(json(""), json!({}));
        assert_eq!(json("0x1F"), json!(31));
        for text in ["1.2.3", "1m", "-x", ".", "e", "off", "1e999"] {
            assert_eq!(json(text), json!(text));
        }
    }

    #[test]
    fn places_are_bytes_lines_and_columns() {
        let text = "é: ü\nlist:\n  - wert\n  - {k: \"ö\"}\n";
        let tree = parse(text).unwrap();
        let Value::Map(members) = &tree.value else {
            panic!()
        };
        assert_eq!(
            &text[members[0].node.span.start..members[0].node.span.end],
            "ü"
        );
        let span = tree.at_pointer("/list/0").unwrap();
        assert_eq!((span.line, span.column), (3, 5));
        assert_eq!(&text[span.start..span.end], "wert");
        let span = tree.at_pointer("/list/1/k/too/far").unwrap();
        assert_eq!(&text[span.start..span.end], "\"ö\"");
        let span = tree.at_pointer("/list").unwrap();
        assert_eq!(&text[span.start..span.end], "list");
        assert_eq!(tree.at_pointer(""), None);
    }

    #[test]
    fn nesting_is_bounded_at_the_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        let broken = parse(&nested(DEPTH_MAX + 1)).unwrap_err();
        assert!(broken.message.contains("nested"), "{broken:?}");
        assert!(parse(&nested(10_000)).is_err());
        let by_alias = format!(
            "- &a {}\n- {}*a{}\n",
            nested(40),
            "[".repeat(23),
            "]".repeat(23)
        );
        assert!(parse(&by_alias).is_ok());
        let by_alias = format!(
            "- &a {}\n- {}*a{}\n",
            nested(40),
            "[".repeat(24),
            "]".repeat(24)
        );
        assert!(parse(&by_alias).is_err());
    }

    #[test]
    fn aliases_can_not_grow_without_bound() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let copies = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{copies}]\n"));
        }
        let broken = parse(&bomb).unwrap_err();
        assert!(broken.message.contains("values"), "{broken:?}");
        assert!(parse("a: &a [*a]").is_err());
    }

    #[test]
    fn values_are_counted_at_the_limit() {
        // The list, its first item, which is counted once more as an anchor, and its copies.
        let list = |values: usize| {
            let copies = (values - 1) / 1000 - 2;
            let rest = (values - 1) % 1000;
            format!(
                "[&a [{}],{}{}]",
                "1,".repeat(999),
                "*a,".repeat(copies),
                "1,".repeat(rest)
            )
        };
        assert!(parse(&list(NODES_MAX)).is_ok());
        assert!(parse(&list(NODES_MAX + 1)).is_err());
    }

    #[test]
    fn text_is_bounded_at_the_limit() {
        let text = |bytes: usize| format!("#{}", "x".repeat(bytes - 1));
        assert!(parse(&text(TEXT_BYTES_MAX)).is_ok());
        assert!(parse(&text(TEXT_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for bad in [
            "a: !!str 1",
            "{[a]: 1}",
            "a: 1\n---\nb: 2",
            "a: [1",
            "a: 1\n b: 2",
            "a:\n\tb: 1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
