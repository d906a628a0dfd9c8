//! Which foreign fields become ours: a kind's own choice, and what the settings put over it.
//!
//! A program of the settings is asked about the foreign object as JSON, whose fields each
//! kind of source names in its reference. What it comes to takes the place of what the kind
//! chose; null leaves that as it is.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a field takes the kinds of JSON that make sense for it; all others get one answer"
)]

use std::{collections::BTreeMap, net::IpAddr};

use portolan_expression::cel::Program;
use portolan_model::{Health, Problem};
use serde_json::{Map, Value, json};

use super::{Fields, Found, Unfit};

/// Longest text that is taken over from an expression.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// Fields of an instance that an expression can be for, and what it must come to.
const TARGETS: &[(&str, &str)] = &[
    ("service", "the service's name, a text"),
    ("namespace", "the namespace, a text"),
    ("id", "the instance's id, a text"),
    ("address", "the IP address, a text"),
    (
        "port",
        "the port, a number from 1 to 65535; it takes the place of all ports",
    ),
    ("zone", "the availability zone, a text"),
    ("version", "the version, a text"),
    (
        "weight",
        "the share of traffic, from 0 to 65535; 100 is normal, 0 is none",
    ),
    (
        "health",
        "`passing`, `warning`, `starting` or `critical`; or a boolean, true for passing",
    ),
    ("tags", "a list of texts"),
];

/// Programs of the settings; equal if they say the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    /// Objects for which this does not hold are passed over.
    only: Option<Program>,
    targets: BTreeMap<&'static str, Program>,
    metadata: BTreeMap<String, Program>,
}

impl Mapping {
    /// Reads `only` and `map`; programs may speak of these `names` of the foreign object.
    pub(super) fn read(fields: &mut Fields<'_>, names: &[&str]) -> Self {
        let mut mapping = Self::default();
        if let Some(text) = fields.text("only") {
            mapping.only = compile(fields, "only", text, names);
        }
        let Some(map) = fields.value("map") else {
            return mapping;
        };
        let Some(map) = map.as_object() else {
            fields.refuse("map", "`map` is not a map of expressions");
            return mapping;
        };
        for (field, value) in map {
            mapping.read_target(fields, (field, value), names);
        }
        mapping
    }

    fn read_target(
        &mut self,
        fields: &mut Fields<'_>,
        (field, value): (&str, &Value),
        names: &[&str],
    ) {
        if field == "metadata" {
            self.read_metadata(fields, value, names);
            return;
        }
        let path = format!("map/{field}");
        let Some((target, _)) = TARGETS.iter().find(|(target, _)| *target == field) else {
            let known: Vec<_> = TARGETS.iter().map(|(target, _)| *target).collect();
            let problem = Problem::new(format!("/{path}"), format!("nothing maps to `{field}`"));
            let help = format!("known are {}, metadata", known.join(", "));
            fields.problem(problem.with_help(help));
            return;
        };
        match value.as_str() {
            Some(text) => {
                let program = compile(fields, &path, text, names);
                self.targets
                    .extend(program.map(|program| (*target, program)));
            }
            None => fields.refuse(&path, "this is not an expression in a text"),
        }
    }

    fn read_metadata(&mut self, fields: &mut Fields<'_>, value: &Value, names: &[&str]) {
        let Some(map) = value.as_object() else {
            fields.refuse("map/metadata", "`metadata` is not a map of expressions");
            return;
        };
        for (key, value) in map {
            let path = format!("map/metadata/{key}");
            match value.as_str() {
                Some(text) => {
                    let program = compile(fields, &path, text, names);
                    self.metadata
                        .extend(program.map(|program| (key.clone(), program)));
                }
                None => fields.refuse(&path, "this is not an expression in a text"),
            }
        }
    }

    /// Whether there is nothing to ask, so that no foreign object need be made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Puts over `found` what the programs say about the foreign `object`; `None` if it is
    /// to be passed over.
    ///
    /// # Errors
    /// [`Unfit::Mapping`] names the program that makes no sense for this object.
    pub fn apply(
        &self,
        mut found: Found,
        object: &Map<String, Value>,
    ) -> Result<Option<Found>, Unfit> {
        if let Some(only) = &self.only {
            match ask("only", only, object)? {
                Value::Bool(true) => {}
                Value::Bool(false) | Value::Null => return Ok(None),
                other => return Err(odd("only", &other)),
            }
        }
        for (target, program) in &self.targets {
            match ask(target, program, object)? {
                Value::Null => {}
                value => put(&mut found, target, &value).ok_or_else(|| odd(target, &value))?,
            }
        }
        for (key, program) in &self.metadata {
            let field = format!("metadata.{key}");
            match ask(&field, program, object)? {
                Value::Null => {}
                value => {
                    let text = text_of(&value).ok_or_else(|| odd(&field, &value))?;
                    found.metadata.insert(key.clone(), text);
                }
            }
        }
        Ok(Some(found))
    }

    /// JSON Schema of `only` and `map`.
    pub(super) fn schema(names: &[&str]) -> [(&'static str, Value); 2] {
        let about = names.join("`, `");
        let expression = |what: &str| json!({"type": "string", "description": format!("A CEL expression for {what}.")});
        let targets = TARGETS
            .iter()
            .map(|(name, what)| ((*name).to_owned(), expression(what)));
        let mut properties: Map<String, Value> = targets.collect();
        properties.insert(
            "metadata".to_owned(),
            json!({
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "CEL expressions by the key that they are for; each comes to a text, a number or a boolean."
            }),
        );
        let only = json!({
            "type": "string",
            "description": format!("A condition in CEL; only instances for which it holds are taken. It may speak of `{about}`.")
        });
        let map = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
            "description": format!("CEL expressions about `{about}` that take the place of the usual mapping where they are not null.")
        });
        [("only", only), ("map", map)]
    }
}

fn compile(fields: &mut Fields<'_>, path: &str, text: &str, names: &[&str]) -> Option<Program> {
    match Program::compile(text, names) {
        Ok(program) => Some(program),
        Err(bad) => {
            fields.refuse(path, bad.to_string());
            None
        }
    }
}

fn ask(field: &str, program: &Program, object: &Map<String, Value>) -> Result<Value, Unfit> {
    program.value(object).map_err(|error| Unfit::Mapping {
        field: field.to_owned(),
        message: error.to_string(),
    })
}

fn odd(field: &str, value: &Value) -> Unfit {
    let mut shown = value.to_string();
    if let Some((end, _)) = shown.char_indices().nth(80) {
        shown.truncate(end);
    }
    Unfit::Mapping {
        field: field.to_owned(),
        message: format!("it came to {shown}, which is none"),
    }
}

fn put(found: &mut Found, target: &str, value: &Value) -> Option<()> {
    match target {
        "service" => found.service = text_of(value)?,
        "namespace" => found.namespace = Some(text_of(value)?),
        "id" => found.id = text_of(value)?,
        "address" => found.address = Some(value.as_str()?.parse::<IpAddr>().ok()?),
        "port" => found.ports = vec![(String::new(), number_of(value).filter(|port| *port > 0)?)],
        "zone" => found.zone = Some(text_of(value)?),
        "version" => found.version = Some(text_of(value)?),
        "weight" => found.weight = Some(number_of(value)?),
        "health" => found.health = health_of(value)?,
        "tags" => {
            let tags: Option<_> = value.as_array()?.iter().map(text_of).collect();
            found.tags = tags?;
        }
        _ => return None,
    }
    Some(())
}

fn text_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(bool) => bool.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(text).filter(|text| text.len() <= TEXT_BYTES_MAX)
}

/// A number, also one that is written as a text: most of what is foreign is text.
fn number_of(value: &Value) -> Option<u16> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        _ => u16::try_from(value.as_u64()?).ok(),
    }
}

fn health_of(value: &Value) -> Option<Health> {
    match value {
        Value::Bool(true) => Some(Health::Passing),
        Value::Bool(false) => Some(Health::Critical),
        _ => match value.as_str()? {
            "passing" => Some(Health::Passing),
            "warning" => Some(Health::Warning),
            "starting" => Some(Health::Starting),
            "critical" => Some(Health::Critical),
            _ => None,
        },
    }
}
