//! Builds the tree from the parser's events, within the limits.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::{DEPTH_MAX, Member, NODES_MAX, Node, Span, TEXT_BYTES_MAX, Value};

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
            Event::DocumentStart(_) if self.root.is_some() => {
                let message = "a configuration is one document, and this is a second one";
                Err(Broken::new(span, message).with_help("remove the `---` line or the document"))
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
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
        // At its end the parser counts a line that is not there.
        let before = self
            .text
            .get(..span.start.saturating_sub(self.skipped))
            .unwrap_or_default();
        let line = before.split('\n').count();
        let own = before.rsplit('\n').next().unwrap_or_default();
        let span = Span {
            line,
            column: own.chars().count().saturating_add(1),
            ..span
        };
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
