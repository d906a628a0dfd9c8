//! Reads the settings of a source and gathers everything that is wrong with them.

use std::time::Duration;

use portolan_model::{Problem, parse_span};
use portolan_wire::call::Url;
use serde_json::{Map, Value};

/// The settings of one source, field by field. What is never asked for is unknown.
#[derive(Debug)]
pub struct Fields<'a> {
    map: Option<&'a Map<String, Value>>,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl<'a> Fields<'a> {
    /// Reads a map of settings.
    #[must_use]
    pub fn new(settings: &'a Value) -> Self {
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
    pub fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.map?.get(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Option<&'a str> {
        let text = self.value(name)?.as_str();
        if text.is_none() {
            self.refuse(name, format!("`{name}` is not a text"));
        }
        text
    }

    /// A span of time between two bounds.
    pub fn span(
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

    /// A URL; none if there is neither one nor a default, or it is no URL.
    pub fn url(&mut self, name: &'static str, default: Option<&str>) -> Option<Url> {
        let text = self.text(name).or(default)?;
        let url = Url::parse(text);
        url.inspect_err(|bad| self.refuse(name, bad.to_string()))
            .ok()
    }

    /// A list of texts, each with its index.
    pub fn texts(&mut self, name: &'static str) -> Vec<(usize, &'a str)> {
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

    /// Notes that something is wrong at a path, which has no slash in front.
    pub fn refuse(&mut self, path: &str, message: impl Into<String>) {
        self.problem(Problem::new(pointer(path), message));
    }

    /// Notes that something is wrong.
    pub fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A text that says one of these words, and what it stands for.
    pub fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let problem = Problem::new(pointer(name), format!("`{text}` is no `{name}`"));
            self.problem(problem.with_help(format!("known are {}", known.join(", "))));
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// True or false.
    pub fn flag(&mut self, name: &'static str, default: bool) -> bool {
        let Some(value) = self.value(name) else {
            return default;
        };
        value.as_bool().unwrap_or_else(|| {
            self.refuse(name, format!("`{name}` is neither true nor false"));
            default
        })
    }

    /// A whole number between two bounds.
    pub fn number(&mut self, name: &'static str, default: u64, bounds: (u64, u64)) -> u64 {
        let Some(value) = self.value(name) else {
            return default;
        };
        match value.as_u64() {
            Some(number) if number >= bounds.0 && number <= bounds.1 => number,
            _ => {
                let (least, most) = bounds;
                self.refuse(
                    name,
                    format!("`{name}` is not a number from {least} to {most}"),
                );
                default
            }
        }
    }

    /// The fields of a map within the settings; `None` if there is none. What is wrong with
    /// them is to be handed to [`Self::absorb`].
    pub fn within(&mut self, name: &'static str) -> Option<Fields<'a>> {
        self.value(name).map(Fields::new)
    }

    /// Takes over what is wrong within one of the fields.
    pub fn absorb(&mut self, name: &'static str, inner: Fields<'_>) {
        if let Err(problems) = inner.finish(()) {
            for problem in problems {
                let path = format!("{}{}", pointer(name), problem.path);
                self.problem(Problem { path, ..problem });
            }
        }
    }

    /// The settings, unless something was wrong.
    ///
    /// # Errors
    /// Everything that is wrong with them, fields that nobody asked for included.
    pub fn finish<T>(mut self, settings: T) -> Result<T, Vec<Problem>> {
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
