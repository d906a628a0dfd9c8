//! A YAML text as a tree in which everything knows its line.

use saphyr::{MarkedYaml, YamlData, YamlLoader};
use saphyr_parser::{Event, Parser, SpannedEventReceiver};

/// Most nesting of lists and maps.
const DEPTH_MAX: usize = 32;
/// Most nodes that aliases may copy.
const ALIASED_NODES_MAX: usize = 100_000;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    /// Counted from 1.
    pub(super) line: usize,
    /// What is wrong, in words for a person.
    pub(super) message: String,
}

impl Flaw {
    pub(super) fn new(line: usize, message: impl Into<String>) -> Self {
        Self {
            line,
            message: message.into(),
        }
    }
}

/// A value and the line on which it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing was written.
    Null,
    /// A scalar as it was written, so that a version `1.10` is not a number.
    Text(String),
    List(Vec<Node>),
    Map(Vec<Member>),
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) node: Node,
}

/// Reads a text of one document. `None` if there is nothing in it.
pub(super) fn parse(text: &str) -> Result<Option<Node>, Flaw> {
    let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
    loader.early_parse(false);
    loader.alias_limit(ALIASED_NODES_MAX);
    let (mut parser, mut depth) = (Parser::new_from_str(text), 0_usize);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|bad| Flaw::new(bad.marker().line(), bad.info()))?;
        if matches!(event, Event::SequenceStart(..) | Event::MappingStart(..)) {
            depth = depth.saturating_add(1);
        } else if matches!(event, Event::SequenceEnd | Event::MappingEnd) {
            depth = depth.saturating_sub(1);
        }
        if depth > DEPTH_MAX {
            let message = format!("lists and maps are nested more than {DEPTH_MAX} deep");
            return Err(Flaw::new(span.start.line(), message));
        }
        loader.on_event(event, span);
    }
    if let Some(bad) = loader.error() {
        return Err(Flaw::new(bad.marker().line(), bad.info()));
    }
    let documents = loader.into_documents();
    match documents.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(convert(only)?).filter(|node| !matches!(node.value, Value::Null))),
        [_, second, ..] => {
            let message = "this is a second document; a file has one";
            Err(Flaw::new(second.span.start.line(), message))
        }
    }
}

fn convert(yaml: &MarkedYaml<'_>) -> Result<Node, Flaw> {
    let line = yaml.span.start.line();
    let value = match &yaml.data {
        YamlData::Representation(text, style, _) => {
            let plain = *style == saphyr::ScalarStyle::Plain;
            if plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL") {
                Value::Null
            } else {
                Value::Text(text.to_string())
            }
        }
        YamlData::Sequence(items) => {
            let items: Result<_, _> = items.iter().map(convert).collect();
            Value::List(items?)
        }
        YamlData::Mapping(members) => {
            let members = members.iter();
            let members: Result<_, _> = members.map(|(key, node)| member(key, node)).collect();
            Value::Map(members?)
        }
        YamlData::Tagged(_, inner) => convert(inner)?.value,
        YamlData::Value(_) | YamlData::Alias(_) | YamlData::BadValue => {
            return Err(Flaw::new(line, "this value can't be read"));
        }
    };
    Ok(Node { line, value })
}

fn member(key: &MarkedYaml<'_>, node: &MarkedYaml<'_>) -> Result<Member, Flaw> {
    let line = key.span.start.line();
    let node = convert(node)?;
    match convert(key)?.value {
        Value::Text(key) => Ok(Member { line, key, node }),
        Value::Null | Value::List(_) | Value::Map(_) => Err(Flaw::new(line, "a key is not a text")),
    }
}
