//! Settings of the `http` source.

use std::{any::Any, sync::Arc, time::Duration};

use portolan_catalog::{Source, SourceSpec};
use portolan_expression::cel::Program;
use portolan_model::{ByteSize, Problem, SourceId};
use portolan_runtime::Env;
use serde_json::{Map, Value, json};

use super::watch::Watch;
use crate::frame::{Basics, Fields, ServersSettings, following};

/// What `items` may speak of.
pub(super) const DOCUMENT: &str = "document";
/// What `only` and `map` may speak of.
pub(super) const ITEM: &str = "item";
const NAMES: &[&str] = &[ITEM];
const EXAMPLE: &str = "http://127.0.0.1:8080/instances.json";
const INTERVAL: Duration = Duration::from_secs(30);
const INTERVAL_BOUNDS: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_hours(24));
const SIZE_MAX: ByteSize = ByteSize::from_bytes(8 << 20);
/// The largest limit that can be asked for.
const SIZE_MAX_MAX: ByteSize = ByteSize::from_bytes(256 << 20);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) basics: Basics,
    pub(super) servers: ServersSettings,
    /// Comes after the path, if there is one.
    pub(super) query: Option<String>,
    pub(super) interval: Duration,
    pub(super) size_max: ByteSize,
    /// The document itself is the list without it.
    pub(super) items: Option<Program>,
    /// The service of items that name none.
    pub(super) service: Option<String>,
}

impl SourceSpec for Settings {
    fn build(&self, id: &SourceId, env: &Env) -> Box<dyn Source> {
        following(Watch::new(self.clone(), id.clone(), env.clone()), env)
    }

    fn same_as(&self, other: &dyn SourceSpec) -> bool {
        (other as &dyn Any).downcast_ref() == Some(self)
    }
}

pub(super) fn parse(settings: &Value) -> Result<Arc<dyn SourceSpec>, Vec<Problem>> {
    Ok(Arc::new(read(settings)?))
}

pub(super) fn read(settings: &Value) -> Result<Settings, Vec<Problem>> {
    let mut fields = Fields::new(settings);
    let settings = Settings {
        servers: ServersSettings::read(&mut fields, EXAMPLE),
        query: query(&mut fields),
        interval: fields.span("interval", INTERVAL, INTERVAL_BOUNDS),
        size_max: size_max(&mut fields),
        items: items(&mut fields),
        service: fields.text("service").map(str::to_owned),
        basics: Basics::read(&mut fields, NAMES),
    };
    fields.finish(settings)
}

fn query(fields: &mut Fields<'_>) -> Option<String> {
    let text = fields.text("query")?;
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if !text.bytes().all(fits) {
        fields.refuse("query", "a query has no spaces and is percent-encoded");
    }
    Some(text.trim_start_matches('?').to_owned())
}

fn size_max(fields: &mut Fields<'_>) -> ByteSize {
    match fields.text("size_max").map(ByteSize::parse) {
        None => SIZE_MAX,
        Some(Ok(size)) if size <= SIZE_MAX_MAX => size,
        Some(Ok(_)) => {
            fields.refuse("size_max", format!("this is over {SIZE_MAX_MAX}"));
            SIZE_MAX
        }
        Some(Err(bad)) => {
            fields.refuse("size_max", bad.to_string());
            SIZE_MAX
        }
    }
}

fn items(fields: &mut Fields<'_>) -> Option<Program> {
    match Program::compile(fields.text("items")?, &[DOCUMENT]) {
        Ok(program) => Some(program),
        Err(bad) => {
            fields.refuse("items", bad.to_string());
            None
        }
    }
}

pub(super) fn schema() -> Value {
    let text = |what: &str| json!({"type": "string", "description": what});
    let mut properties = Map::new();
    ServersSettings::describe(&mut properties);
    let own = [
        (
            "query",
            text("The query of the URL, like `env=prod`, since a URL here ends with its path."),
        ),
        (
            "interval",
            json!({"type": "string", "default": "30s", "description": "How often the answer is asked for, from 100ms to 24h."}),
        ),
        (
            "size_max",
            json!({"type": "string", "default": "8MiB", "description": "The largest answer that is read, up to 256MiB."}),
        ),
        (
            "items",
            text(
                "A CEL expression about `document` that comes to the list of instances; the document itself by default.",
            ),
        ),
        ("service", text("The service of items that name none.")),
    ];
    properties.extend(own.map(|(name, schema)| (name.to_owned(), schema)));
    Basics::describe(&mut properties, NAMES);
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}
