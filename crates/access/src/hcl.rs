//! The part of HCL that policies are written in: attributes, blocks with labels, objects,
//! lists, texts, and comments.
//!
//! The result is a JSON tree in which a block is an object under its labels, and blocks of
//! one word are merged: what HCL makes of it for whoever reads it as JSON.

use serde_json::{Map, Value};

use crate::RulesError;

/// How deep blocks may be nested.
const DEPTH_MAX: usize = 16;
/// The longest policy, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

pub(super) fn parse(text: &str) -> Result<Value, RulesError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("a policy has at most {TEXT_BYTES_MAX} bytes");
        return Err(RulesError::new(message));
    }
    let mut parser = Parser {
        text,
        rest: text,
        depth: 0,
    };
    let map = parser.body(End::Text)?;
    Ok(Value::Object(map))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Text,
    Brace,
}

struct Parser<'t> {
    text: &'t str,
    rest: &'t str,
    depth: usize,
}

impl Parser<'_> {
    fn body(&mut self, end: End) -> Result<Map<String, Value>, RulesError> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH_MAX {
            return Err(self.error(&format!("nested deeper than {DEPTH_MAX}")));
        }
        let mut map = Map::new();
        loop {
            self.skip()?;
            if self.take('}') {
                if end == End::Brace {
                    break;
                }
                return Err(self.error("a brace is closed that was not opened"));
            }
            if self.rest.is_empty() {
                if end == End::Text {
                    break;
                }
                return Err(self.error("a brace is not closed"));
            }
            let word = self.word()?;
            let value = self.after_word()?;
            merge(&mut map, word, value);
            self.skip()?;
            // Objects may have commas between their pairs.
            self.take(',');
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(map)
    }

    /// What follows a word: `= value`, or labels and a block.
    fn after_word(&mut self) -> Result<Value, RulesError> {
        self.skip()?;
        if self.take('=') || self.take(':') {
            self.skip()?;
            return self.value();
        }
        if self.take('{') {
            return self.body(End::Brace).map(Value::Object);
        }
        if !self.rest.starts_with('"') {
            return Err(self.error("`=`, a label or `{` is expected"));
        }
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH_MAX {
            return Err(self.error("too many labels"));
        }
        let label = self.quoted()?;
        let inner = self.after_word()?;
        self.depth = self.depth.saturating_sub(1);
        Ok(Value::Object([(label, inner)].into_iter().collect()))
    }

    fn value(&mut self) -> Result<Value, RulesError> {
        match self.rest.chars().next() {
            Some('"') => self.quoted().map(Value::String),
            Some('{') => {
                self.take('{');
                self.body(End::Brace).map(Value::Object)
            }
            Some('[') => self.list(),
            Some(_) => match self.word()?.as_str() {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                word if word.bytes().all(|byte| byte.is_ascii_digit()) => {
                    let number: Option<u64> = word.parse().ok();
                    number
                        .map(Value::from)
                        .ok_or_else(|| self.error("the number is too large"))
                }
                _ => Err(self.error("a text needs quotes")),
            },
            None => Err(self.error("a value is expected")),
        }
    }

    fn list(&mut self) -> Result<Value, RulesError> {
        self.take('[');
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH_MAX {
            return Err(self.error(&format!("nested deeper than {DEPTH_MAX}")));
        }
        let mut list = Vec::new();
        loop {
            self.skip()?;
            if self.take(']') {
                self.depth = self.depth.saturating_sub(1);
                return Ok(Value::Array(list));
            }
            list.push(self.value()?);
            self.skip()?;
            if !self.take(',') && !self.rest.starts_with(']') {
                return Err(self.error("`,` or `]` is expected"));
            }
        }
    }

    /// A bare or quoted word.
    fn word(&mut self) -> Result<String, RulesError> {
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.error("a word is expected"));
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(word.to_owned())
    }

    fn quoted(&mut self) -> Result<String, RulesError> {
        let mut characters = self.rest.char_indices();
        characters.next();
        let mut text = String::new();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    let end = at.saturating_add(1);
                    self.rest = self.rest.get(end..).unwrap_or_default();
                    return Ok(text);
                }
                '\n' => break,
                '\\' => match characters.next().map(|(_, escaped)| escaped) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(escaped @ ('"' | '\\')) => text.push(escaped),
                    Some(_) | None => return Err(self.error("not an escape")),
                },
                other => text.push(other),
            }
        }
        Err(self.error("a text is not closed"))
    }

    /// Skips what means nothing: blanks and comments.
    fn skip(&mut self) -> Result<(), RulesError> {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = self.rest.get(end..).unwrap_or_default();
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                let (_, rest) = comment
                    .split_once("*/")
                    .ok_or_else(|| self.error("a comment is not closed"))?;
                self.rest = rest;
            } else {
                return Ok(());
            }
        }
    }

    fn take(&mut self, sign: char) -> bool {
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn error(&self, message: &str) -> RulesError {
        let end = self.text.len().saturating_sub(self.rest.len());
        let before = self.text.get(..end).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        RulesError::new(format!("line {line}: {message}"))
    }
}

/// Blocks of one word become one object; of one name, the later one counts.
fn merge(map: &mut Map<String, Value>, word: String, value: Value) {
    match (map.get_mut(&word), value) {
        (Some(Value::Object(known)), Value::Object(new)) => known.extend(new),
        (_, value) => {
            map.insert(word, value);
        }
    }
}
