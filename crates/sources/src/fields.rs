//! Reads the settings of a source and gathers everything that is wrong with them.

use std::time::Duration;

use portolan_model::{Problem, parse_span};
use serde_json::{Map, Value};

/// The settings of one source, field by field. What is never asked for is unknown.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    map: Option<&'a Map<String, Value>>,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(settings: &'a Value) -> Self {
        let mut fields = Self {
            map: settings.as_object(),
            known: Vec::new(),
            problems: Vec::new(),
        };
        if fields.map.is_none() {
            fields.refuse("", "the settings are not a map");
        }
        fields
    }

    /// A field that is there and not null.
    pub(crate) fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.map?.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Option<&'a str> {
        let text = self.value(name)?.as_str();
        if text.is_none() {
            self.refuse(name, format!("`{name}` is not a text"));
        }
        text
    }

    /// A span of time between two bounds.
    pub(crate) fn span(
        &mut self,
        name: &'static str,
        default: Duration,
        bounds: (Duration, Duration),
    ) -> Duration {
        let Some(text) = self.text(name) else {
            return default;
        };
        match parse_span(text) {
            Ok(span) if span >= bounds.0 && span <= bounds.1 => return span,
            Ok(_) => {
                let (least, most) = bounds;
                self.refuse(
                    name,
                    format!("`{text}` is not between {least:?} and {most:?}"),
                );
            }
            Err(bad) => self.refuse(name, bad.to_string()),
        }
        default
    }

    /// A list of texts, each with its index.
    pub(crate) fn texts(&mut self, name: &'static str) -> Vec<(usize, &'a str)> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        let Some(list) = value.as_array() else {
            self.refuse(name, format!("`{name}` is not a list"));
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (index, item) in list.iter().enumerate() {
            match item.as_str() {
                Some(text) => texts.push((index, text)),
                None => self.refuse(&format!("{name}/{index}"), "this is not a text"),
            }
        }
        texts
    }

    pub(crate) fn refuse(&mut self, path: &str, message: impl Into<String>) {
        self.problem(Problem::new(pointer(path), message));
    }

    pub(crate) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The settings, unless something was wrong.
    pub(crate) fn finish<T>(mut self, settings: T) -> Result<T, Vec<Problem>> {
        let names = self.map.into_iter().flat_map(Map::keys);
        let unknown: Vec<_> = names
            .filter(|name| !self.known.contains(&name.as_str()))
            .collect();
        for name in unknown {
            let help = format!("known are {}", self.known.join(", "));
            let problem = Problem::new(pointer(name), format!("there is no field `{name}`"));
            self.problem(problem.with_help(help));
        }
        if self.problems.is_empty() {
            Ok(settings)
        } else {
            Err(self.problems)
        }
    }
}

fn pointer(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    }
}
