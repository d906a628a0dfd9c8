//! JSON: read into a [`Node`], written field by field.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{
    node::{Budget, Node, Unreadable, check_depth, check_text},
    write::Out,
};

/// Reads a document of so many values at most.
pub(super) fn parse(bytes: &[u8], nodes_max: usize) -> Result<Node, Unreadable> {
    let mut budget = Budget::new(nodes_max);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let seed = Value {
        depth: 0,
        budget: &mut budget,
    };
    let broken = |error: serde_json::Error| Unreadable::Json(error.to_string());
    let found = seed.deserialize(&mut deserializer).map_err(broken)?;
    deserializer.end().map_err(broken)?;
    match found {
        Found::One(node) => Ok(node),
        Found::Nothing | Found::Many(_) => {
            Err(Unreadable::Shape("an object is expected".to_owned()))
        }
    }
}

/// What stands where a value may stand.
enum Found {
    Nothing,
    One(Node),
    Many(Vec<Node>),
}

struct Value<'b> {
    depth: usize,
    budget: &'b mut Budget,
}

impl Value<'_> {
    fn leaf<E: Error>(self, text: &str) -> Result<Found, E> {
        check_text(text).map_err(E::custom)?;
        self.budget.take().map_err(E::custom)?;
        Ok(Found::One(Node::leaf(text)))
    }

    fn deeper(&mut self) -> Result<Value<'_>, String> {
        let depth = self.depth.saturating_add(1);
        check_depth(depth)?;
        Ok(Value {
            depth,
            budget: self.budget,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Found, E> {
        self.leaf(if flag { "true" } else { "false" })
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Found, E> {
        self.leaf(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Found, E> {
        self.leaf(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Found, E> {
        self.leaf(&number.to_string())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Found, E> {
        self.leaf(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Found, A::Error> {
        let mut nodes = Vec::new();
        loop {
            let seed = self.deeper().map_err(A::Error::custom)?;
            match items.next_element_seed(seed)? {
                None => return Ok(Found::Many(nodes)),
                Some(Found::Nothing) => {}
                Some(Found::One(node)) => nodes.push(node),
                // Nothing that Eureka says is a list of lists.
                Some(Found::Many(_)) => return Err(A::Error::custom("a list within a list")),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Found, A::Error> {
        self.budget.take().map_err(A::Error::custom)?;
        let mut members = Vec::new();
        while let Some(name) = entries.next_key::<Box<str>>()? {
            check_text(&name).map_err(A::Error::custom)?;
            let seed = self.deeper().map_err(A::Error::custom)?;
            match entries.next_value_seed(seed)? {
                Found::Nothing => {}
                Found::One(node) => members.push((name, node)),
                Found::Many(nodes) => {
                    members.extend(nodes.into_iter().map(|node| (name.clone(), node)));
                }
            }
        }
        Ok(Found::One(Node {
            text: None,
            members,
        }))
    }
}

/// Writes a document or a piece of one.
#[derive(Debug, Default)]
pub(super) struct JsonOut {
    bytes: Vec<u8>,
}

impl JsonOut {
    /// A whole document, whose root is an object.
    pub(super) fn document() -> Self {
        Self {
            bytes: b"{".to_vec(),
        }
    }

    /// The document.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(b'}');
        self.bytes
    }

    /// A piece that is not a whole document.
    pub(super) fn into_piece(self) -> Vec<u8> {
        self.bytes
    }

    /// A comma, unless something was just opened.
    fn part(&mut self) {
        if !matches!(self.bytes.last(), None | Some(b'{' | b'[')) {
            self.bytes.push(b',');
        }
    }

    fn name(&mut self, name: &str) {
        self.part();
        self.string(name);
        self.bytes.push(b':');
    }

    fn string(&mut self, text: &str) {
        // Writing a text to memory can't fail.
        let _written = serde_json::to_writer(&mut self.bytes, text);
    }
}

impl Out for JsonOut {
    fn open(&mut self, name: &str, class: Option<&str>) {
        self.name(name);
        self.bytes.push(b'{');
        if let Some(class) = class {
            self.text("@class", class);
        }
    }

    fn close(&mut self, _: &str) {
        self.bytes.push(b'}');
    }

    fn overridden(&self) -> &'static str {
        "overriddenStatus"
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.string(text);
    }

    fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        self.bytes.extend_from_slice(number.to_string().as_bytes());
    }

    fn label(&mut self, name: &str, text: &str) {
        self.text(name, text);
    }

    fn port(&mut self, name: &str, number: u16, is_enabled: bool) {
        self.open(name, None);
        self.number("$", number.into());
        self.text("@enabled", if is_enabled { "true" } else { "false" });
        self.close(name);
    }

    fn open_list(&mut self, name: &str) {
        self.name(name);
        self.bytes.push(b'[');
    }

    fn open_item(&mut self, _: &str) {
        self.part();
        self.bytes.push(b'{');
    }

    fn piece(&mut self, piece: &[u8]) {
        self.part();
        self.bytes.extend_from_slice(piece);
    }

    fn close_list(&mut self) {
        self.bytes.push(b']');
    }
}
