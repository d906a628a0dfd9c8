//! Reading JSON as tolerantly as Consul does: names of fields in any case, with or without
//! underscores; numbers and truths also as texts; `null` is nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{Refusal, parse_duration};

/// The longest text of a field, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 4096;
/// Most elements of a list and pairs of a map.
pub(super) const ELEMENTS_MAX: usize = 256;

/// Pairs of texts.
pub(super) type Pairs = BTreeMap<Arc<str>, Arc<str>>;

/// The fields of an object.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a Map<String, Value>);

pub(super) fn parse(body: &[u8]) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Err(Refusal::decode("EOF"));
    }
    serde_json::from_slice(body).map_err(Refusal::decode)
}

fn is_same(given: &str, name: &str) -> bool {
    let given = given.bytes().filter(|byte| *byte != b'_');
    given
        .map(|byte| byte.to_ascii_lowercase())
        .eq(name.bytes().map(|byte| byte.to_ascii_lowercase()))
}

fn wrong(name: &str, expected: &str) -> Refusal {
    Refusal::decode(format!("'{name}' expected {expected}"))
}

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, Refusal> {
        match value {
            Value::Object(map) => Ok(Self(map)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(Refusal::decode("an object is expected")),
        }
    }

    /// The value of a field, spelt exactly or loosely.
    pub(super) fn find(self, name: &str) -> Option<&'a Value> {
        let exact = self.0.get(name);
        let loose = || {
            let mut all = self.0.iter();
            all.find(|(given, _)| is_same(given, name))
                .map(|(_, value)| value)
        };
        exact.or_else(loose).filter(|value| !value.is_null())
    }

    /// Whether there is nothing in it: some clients send `"Check": {}`.
    pub(super) fn is_blank(self) -> bool {
        self.0.values().all(Value::is_null)
    }

    pub(super) fn raw(self, name: &str) -> Option<Value> {
        self.find(name).cloned()
    }

    pub(super) fn text(self, name: &str) -> Result<String, Refusal> {
        match self.find(name) {
            None => Ok(String::new()),
            Some(value) => text_of(name, value),
        }
    }

    pub(super) fn number(self, name: &str) -> Result<Option<i64>, Refusal> {
        let number = match self.find(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_i64().or_else(|| {
                // Clients in languages with one kind of number write 10.0.
                let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
                format!("{float:.0}").parse().ok()
            }),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => text.parse().ok(),
            Some(Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_)) => None,
        };
        number.map(Some).ok_or_else(|| wrong(name, "a number"))
    }

    /// A number from 0 to `max`.
    pub(super) fn count(self, name: &str, max: u32) -> Result<u32, Refusal> {
        let number = self.number(name)?.unwrap_or(0);
        u32::try_from(number)
            .ok()
            .filter(|number| *number <= max)
            .ok_or_else(|| wrong(name, &format!("a number from 0 to {max}")))
    }

    pub(super) fn truth(self, name: &str) -> Result<bool, Refusal> {
        match self.find(name) {
            None => Ok(false),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(Value::String(text)) => match text.as_str() {
                "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(true),
                "false" | "False" | "FALSE" | "f" | "F" | "0" | "" => Ok(false),
                _ => Err(wrong(name, "true or false")),
            },
            Some(Value::Number(number)) => Ok(number.as_i64() != Some(0)),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) => {
                Err(wrong(name, "true or false"))
            }
        }
    }

    /// A span as Go writes it, or a number of nanoseconds; none if it is zero.
    pub(super) fn span(self, name: &str) -> Result<Option<Duration>, Refusal> {
        let span = match self.find(name) {
            None => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => parse_duration(text)
                .ok_or_else(|| Refusal::decode(format!("time: invalid duration {text:?}")))?,
            Some(_) => {
                let nanos = self.number(name)?.unwrap_or(0);
                let nanos = u64::try_from(nanos).map_err(|_| wrong(name, "a duration"))?;
                Duration::from_nanos(nanos)
            }
        };
        Ok((!span.is_zero()).then_some(span))
    }

    pub(super) fn list(self, name: &str) -> Result<&'a [Value], Refusal> {
        match self.find(name) {
            None => Ok(&[]),
            Some(Value::Array(list)) if list.len() > ELEMENTS_MAX => Err(Refusal::decode(format!(
                "'{name}' has more than {ELEMENTS_MAX} elements"
            ))),
            Some(Value::Array(list)) => Ok(list),
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Object(_),
            ) => Err(wrong(name, "a list")),
        }
    }

    pub(super) fn texts(self, name: &str) -> Result<Vec<Arc<str>>, Refusal> {
        let list = self.list(name)?.iter();
        list.map(|value| text_of(name, value).map(Arc::from))
            .collect()
    }

    pub(super) fn object(self, name: &str) -> Result<Option<Self>, Refusal> {
        match self.find(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self(map))),
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_),
            ) => Err(wrong(name, "an object")),
        }
    }

    /// The pairs of a map; their names are the client's and kept as they are.
    pub(super) fn pairs(self, name: &str) -> Result<Pairs, Refusal> {
        let Some(map) = self.object(name)? else {
            return Ok(Pairs::new());
        };
        let pairs = map.entries(name)?;
        pairs
            .map(|(key, value)| Ok((bounded(name, key)?.into(), text_of(name, value)?.into())))
            .collect()
    }

    pub(super) fn entries(
        &self,
        name: &str,
    ) -> Result<impl Iterator<Item = (&'a str, &'a Value)>, Refusal> {
        if self.0.len() > ELEMENTS_MAX {
            let message = format!("'{name}' has more than {ELEMENTS_MAX} pairs");
            return Err(Refusal::decode(message));
        }
        Ok(self.0.iter().map(|(key, value)| (key.as_str(), value)))
    }
}

pub(super) fn text_of(name: &str, value: &Value) -> Result<String, Refusal> {
    match value {
        Value::String(text) => bounded(name, text).map(str::to_owned),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null => Ok(String::new()),
        Value::Array(_) | Value::Object(_) => Err(wrong(name, "a string")),
    }
}

fn bounded<'t>(name: &str, text: &'t str) -> Result<&'t str, Refusal> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("'{name}' is over {TEXT_BYTES_MAX} bytes");
        return Err(Refusal::decode(message));
    }
    Ok(text)
}
