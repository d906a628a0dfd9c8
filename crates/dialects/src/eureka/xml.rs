//! XML: read into a [`Node`], written field by field.
//!
//! Eureka writes XML by a library that escapes names: `_` is `__`, `$` is `_-`, and what
//! no name may hold is `_.` with four digits. Keys of metadata are names, so this is what
//! carries every key.

use std::{borrow::Cow, fmt::Write as _};

use quick_xml::{
    Reader,
    escape::{resolve_predefined_entity, unescape},
    events::{BytesRef, BytesStart, Event},
};

use super::{
    node::{Budget, Node, Unreadable, check_depth, check_text},
    write::Out,
};

/// Reads a document of so many values at most: the root's name and what is in it, as one
/// member.
pub(super) fn parse(bytes: &[u8], nodes_max: usize) -> Result<Node, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| broken("it is not UTF-8"))?;
    let mut reader = Reader::from_str(text);
    let mut builder = Builder {
        budget: Budget::new(nodes_max),
        open: vec![Open::default()],
    };
    loop {
        let event = reader.read_event().map_err(failed)?;
        match event {
            Event::Start(start) => builder.open(&start)?,
            Event::Empty(start) => {
                builder.open(&start)?;
                builder.close()?;
            }
            Event::End(_) => builder.close()?,
            Event::Text(text) => builder.say(&text.xml10_content())?,
            Event::CData(text) => builder.say(&text.xml10_content())?,
            Event::GeneralRef(reference) => builder.refer(&reference)?,
            Event::DocType(_) => return Err(broken("document types are not taken")),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => return builder.finish(),
        }
    }
}

fn broken(why: impl Into<String>) -> Unreadable {
    Unreadable::Xml(why.into())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "an error is handed over by `map_err`"
)]
fn failed<E: ToString>(error: E) -> Unreadable {
    Unreadable::Xml(error.to_string())
}

#[derive(Default)]
struct Open {
    name: Box<str>,
    node: Node,
    text: String,
}

struct Builder {
    budget: Budget,
    /// The way from the document to where we are.
    open: Vec<Open>,
}

impl Builder {
    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), Unreadable> {
        self.budget.take().map_err(broken)?;
        check_depth(self.open.len()).map_err(broken)?;
        let name = start.local_name();
        check_text(name.as_ref()).map_err(broken)?;
        let mut open = Open {
            name: decode_name(name.as_ref()).into(),
            ..Open::default()
        };
        for attribute in start.attributes() {
            let attribute = attribute.map_err(failed)?;
            self.budget.take().map_err(broken)?;
            let name = format!("@{}", attribute.key.as_ref());
            let value = unescape(&attribute.value).map_err(failed)?;
            check_text(&name).map_err(broken)?;
            check_text(&value).map_err(broken)?;
            open.node
                .members
                .push((name.into(), Node::leaf(value.as_ref())));
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Unreadable> {
        let Some(Open {
            name,
            mut node,
            text,
        }) = self.open.pop()
        else {
            return Err(broken("an element ends that did not begin"));
        };
        let has_children = node.members.iter().any(|(name, _)| !name.starts_with('@'));
        if !has_children {
            node.text = Some(text.into());
        } else if !text.trim().is_empty() {
            return Err(broken("text between elements"));
        }
        match self.open.last_mut() {
            Some(parent) => parent.node.members.push((name, node)),
            None => return Err(broken("an element ends that did not begin")),
        }
        Ok(())
    }

    fn say(&mut self, text: &str) -> Result<(), Unreadable> {
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        open.text.push_str(text);
        check_text(&open.text).map_err(broken)
    }

    fn refer(&mut self, reference: &BytesRef<'_>) -> Result<(), Unreadable> {
        if let Some(character) = reference.resolve_char_ref().map_err(failed)? {
            return self.say(character.encode_utf8(&mut [0; 4]));
        }
        match resolve_predefined_entity(&reference.xml10_content()) {
            Some(text) => self.say(text),
            None => Err(broken("an entity that nobody declared")),
        }
    }

    fn finish(mut self) -> Result<Node, Unreadable> {
        let root = self.open.pop();
        if !self.open.is_empty() {
            return Err(broken("it breaks off"));
        }
        let root = root.filter(|root| root.text.trim().is_empty() && root.node.members.len() == 1);
        root.map(|root| root.node)
            .ok_or_else(|| broken("one element is expected"))
    }
}

/// Undoes the escaping of names. What is no escape stands for itself: clients that are
/// not Java's do not escape.
fn decode_name(name: &str) -> Cow<'_, str> {
    if !name.contains('_') {
        return Cow::Borrowed(name);
    }
    let mut decoded = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('_') {
        decoded.push_str(before);
        let (character, after) = decode_escape(after);
        decoded.push(character);
        rest = after;
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

/// What an underscore means, and what comes after it.
fn decode_escape(after: &str) -> (char, &str) {
    if let Some(rest) = after.strip_prefix('_') {
        return ('_', rest);
    }
    if let Some(rest) = after.strip_prefix('-') {
        return ('$', rest);
    }
    let escaped = after.strip_prefix('.').and_then(|hex| {
        let (digits, rest) = hex.split_at_checked(4)?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
        Some((char::from_u32(code)?, rest))
    });
    escaped.unwrap_or(('_', after))
}

/// Escapes a key so that it is a name.
fn encode_name(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '_' => encoded.push_str("__"),
            '$' => encoded.push_str("_-"),
            'a'..='z' | 'A'..='Z' => encoded.push(character),
            '0'..='9' | '-' | '.' if !encoded.is_empty() => encoded.push(character),
            // Only four digits: what is beyond them has no name in Java's XML either.
            other => {
                let code = u16::try_from(u32::from(other)).unwrap_or(0xfffd);
                // Writing to a string can't fail.
                let _written = write!(encoded, "_.{code:04x}");
            }
        }
    }
    encoded
}

/// Writes a document or a piece of one.
#[derive(Debug, Default)]
pub(super) struct XmlOut {
    bytes: Vec<u8>,
}

impl XmlOut {
    /// What was written.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '<' => self.raw("&lt;"),
                '>' => self.raw("&gt;"),
                '&' => self.raw("&amp;"),
                '"' => self.raw("&quot;"),
                // As itself it would be read as a line feed.
                '\r' => self.raw("&#13;"),
                '\t' | '\n' => self.raw(character.encode_utf8(&mut [0; 4])),
                // XML has no way to write these.
                '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => self.raw("\u{fffd}"),
                other => self.raw(other.encode_utf8(&mut [0; 4])),
            }
        }
    }
}

impl Out for XmlOut {
    fn open(&mut self, name: &str, class: Option<&str>) {
        self.raw("<");
        self.raw(name);
        if let Some(class) = class {
            self.raw(" class=\"");
            self.escaped(class);
            self.raw("\"");
        }
        self.raw(">");
    }

    fn close(&mut self, name: &str) {
        self.raw("</");
        self.raw(name);
        self.raw(">");
    }

    fn overridden(&self) -> &'static str {
        "overriddenstatus"
    }

    fn text(&mut self, name: &str, text: &str) {
        self.open(name, None);
        self.escaped(text);
        self.close(name);
    }

    fn number(&mut self, name: &str, number: u64) {
        self.text(name, &number.to_string());
    }

    fn label(&mut self, name: &str, text: &str) {
        // No element is without a name.
        if !name.is_empty() {
            self.text(&encode_name(name), text);
        }
    }

    fn port(&mut self, name: &str, number: u16, is_enabled: bool) {
        self.raw("<");
        self.raw(name);
        self.raw(if is_enabled {
            " enabled=\"true\">"
        } else {
            " enabled=\"false\">"
        });
        self.raw(&number.to_string());
        self.close(name);
    }

    fn open_list(&mut self, _: &str) {}

    fn open_item(&mut self, name: &str) {
        self.open(name, None);
    }

    fn piece(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    fn close_list(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Node, Unreadable> {
        super::parse(bytes, 100)
    }

    #[test]
    fn names_are_escaped_as_java_does() {
        for (key, name) in [
            ("plain", "plain"),
            ("management.port", "management.port"),
            ("my_key", "my__key"),
            ("a$b", "a_-b"),
            ("a b", "a_.0020b"),
            ("1st", "_.0031st"),
            ("a/b", "a_.002fb"),
        ] {
            assert_eq!(encode_name(key), name);
            assert_eq!(decode_name(name), key);
        }
        assert_eq!(decode_name("my_key"), "my_key", "others write it as it is");
    }

    #[test]
    fn entities_are_the_five_and_no_other() {
        let node = parse(b"<a>&lt;&#65;&amp;</a>").unwrap();
        assert_eq!(node.text("a"), Some("<A&"));
        assert!(parse(b"<a>&x;</a>").is_err());
        assert!(parse(b"<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>").is_err());
    }

    #[test]
    fn documents_have_one_root_and_an_end() {
        for bad in [
            "",
            "<a>",
            "<a/><b/>",
            "text",
            "<a></b>",
            "<a>x<b/></a>",
            "</a>",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse(b"<?xml version=\"1.0\"?>\n<!-- c --><a/>\n").is_ok());
    }
}
