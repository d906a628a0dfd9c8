//! Reads settings and collects everything that is wrong with them.

use std::borrow::Cow;

use portolan_model::{
    Problem,
    http::{Fields, Known},
};
use portolan_policy::ParsedPolicy;
use serde_json::{Map, Value};

/// An object of settings.
#[derive(Debug)]
pub(crate) struct Reader<'v> {
    /// JSON pointer to it.
    at: String,
    object: Option<&'v Map<String, Value>>,
}

/// Everything that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// The settings if nothing is wrong with them.
    pub(crate) fn none_or(
        self,
        spec: impl FnOnce() -> std::sync::Arc<dyn portolan_policy::PolicySpec>,
    ) -> ParsedPolicy {
        if self.0.is_empty() {
            return Ok(spec());
        }
        Err(self.0)
    }
}

impl<'v> Reader<'v> {
    /// The settings of a policy, whose keys must be among `known`.
    pub(crate) fn open(value: &'v Value, known: &[&str], problems: &mut Problems) -> Self {
        let reader = Self::of(value, String::new(), problems);
        reader.refuse_others(known, problems);
        reader
    }

    fn of(value: &'v Value, at: String, problems: &mut Problems) -> Self {
        let object = value.as_object();
        if object.is_none() && !value.is_null() {
            problems.add(Problem::new(at.clone(), "this must be a map of settings"));
        }
        Self { at, object }
    }

    fn refuse_others(&self, known: &[&str], problems: &mut Problems) {
        for key in self.object.into_iter().flat_map(Map::keys) {
            if !known.contains(&key.as_str()) {
                let problem = Problem::new(self.at(key), format!("there is no setting `{key}`"));
                problems.add(problem.with_help(format!("the settings are {}", listed(known))));
            }
        }
    }

    /// JSON pointer to a setting.
    pub(crate) fn at(&self, key: &str) -> String {
        format!("{}/{}", self.at, key.replace('~', "~0").replace('/', "~1"))
    }

    fn value(&self, key: &str) -> Option<&'v Value> {
        self.object?.get(key).filter(|value| !value.is_null())
    }

    /// Whether a setting is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A nested object, whose keys must be among `known`.
    pub(crate) fn nested(&self, key: &str, known: &[&str], problems: &mut Problems) -> Self {
        let nested = self.free(key, problems);
        nested.refuse_others(known, problems);
        nested
    }

    /// A nested object with any keys.
    pub(crate) fn free(&self, key: &str, problems: &mut Problems) -> Self {
        Self::of(
            self.value(key).unwrap_or(&Value::Null),
            self.at(key),
            problems,
        )
    }

    /// The object's keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'v str> + use<'v> {
        self.object
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
    }

    /// Reads a setting by `parse`, which says in one sentence what is wrong.
    pub(crate) fn read<T>(
        &self,
        key: &str,
        problems: &mut Problems,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let parsed = match scalar(self.value(key)?) {
            Some(text) => parse(&text),
            None => Err("this must be a single value".to_owned()),
        };
        parsed
            .map_err(|reason| problems.add(Problem::new(self.at(key), reason)))
            .ok()
    }

    /// The texts of a setting that is one value or a list of them, each with its pointer.
    pub(crate) fn texts(&self, key: &str, problems: &mut Problems) -> Vec<(String, Cow<'v, str>)> {
        let mut texts = Vec::new();
        let items = match self.value(key) {
            None => return texts,
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(place, item)| (format!("{}/{place}", self.at(key)), item))
                .collect(),
            Some(item) => vec![(self.at(key), item)],
        };
        for (at, item) in items {
            match scalar(item) {
                Some(text) => texts.push((at, text)),
                None => problems.add(Problem::new(at, "this must be a single value")),
            }
        }
        texts
    }
}

/// `a, b and c`.
fn listed(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The text of a scalar; numbers and flags as they were written.
fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Owned(flag.to_string())),
        Value::Null => Some(Cow::Borrowed("")),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// A field that a configuration may set.
pub(crate) type Field = (Box<str>, Box<[u8]>);

/// Checks a field that settings put into a head, or says in one sentence what is wrong.
pub(crate) fn field(name: &str, value: &str) -> Result<Field, Problem> {
    let mut scratch = Fields::default();
    scratch
        .push(name, value.as_bytes())
        .map_err(|bad| Problem::new("", format!("`{name}: {value}` is no field: {bad}")))?;
    let known = scratch
        .iter()
        .next()
        .map_or(Known::Other, |field| field.known);
    if let Some(help) = reserved(known) {
        let message = format!("the field `{name}` is the gateway's own");
        return Err(Problem::new("", message).with_help(help));
    }
    Ok((name.into(), value.as_bytes().into()))
}

/// Why a field can't be changed by settings: it says where a message ends, or it is
/// meant for the next hop only. Either way a wrong value lets requests be smuggled.
const fn reserved(known: Known) -> Option<&'static str> {
    match known {
        Known::Host => Some("use `rewrite: {host: ...}`"),
        Known::ContentLength | Known::TransferEncoding | Known::Trailer => {
            Some("the gateway frames each message itself")
        }
        Known::Connection
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::ProxyAuthenticate
        | Known::ProxyAuthorization
        | Known::Te
        | Known::Upgrade
        | Known::Expect
        | Known::Http2Settings => Some("it is meant for one connection and never passed on"),
        Known::Forwarded
        | Known::XForwardedFor
        | Known::XForwardedProto
        | Known::XForwardedHost
        | Known::XForwardedPort
        | Known::XForwardedPrefix
        | Known::XRequestId
        | Known::Via
        | Known::Traceparent
        | Known::ContentType
        | Known::Cookie
        | Known::Date
        | Known::Server
        | Known::MaxForwards
        | Known::Other => None,
    }
}
