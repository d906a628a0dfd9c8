//! Settings of the `service_directory` source.

use std::{any::Any, path::PathBuf, sync::Arc, time::Duration};

use http::HeaderMap;
use portolan_catalog::{Source, SourceSpec};
use portolan_model::{Problem, SourceId};
use portolan_runtime::Env;
use portolan_wire::call::Url;
use serde_json::{Map, Value, json};

use super::{map::NAMES, watch::ServiceDirectorySource};
use portolan_sources::frame::{Basics, Fields, ServersSettings, following, tls};

const ENDPOINT: &str = "https://servicedirectory.googleapis.com";
const METADATA: &str = "http://metadata.google.internal";
const SECOND: Duration = Duration::from_secs(1);
const NAMESPACES_MAX: usize = 100;
const ID_BYTES_MAX: usize = 63;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) basics: Basics,
    pub(super) project: String,
    pub(super) location: String,
    /// All if empty.
    pub(super) namespaces: Vec<String>,
    pub(super) servers: ServersSettings,
    pub(super) account: Account,
    pub(super) poll: Duration,
    pub(super) timeout: Duration,
}

/// Who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Account {
    Key(PathBuf),
    Machine(Url),
}

impl SourceSpec for Settings {
    fn build(&self, id: &SourceId, env: &Env) -> Box<dyn Source> {
        following(
            ServiceDirectorySource::new(self.clone(), id.clone(), env.clone()),
            env,
        )
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
    let basics = Basics::read(&mut fields, NAMES);
    let project = needed(&mut fields, "project", "shop-production");
    let location = needed(&mut fields, "location", "europe-west1");
    let endpoint = fields.url("endpoint", Some(ENDPOINT));
    let servers = ServersSettings {
        urls: endpoint.into_iter().collect(),
        tls: tls(&mut fields),
        fields: HeaderMap::new(),
    };
    let metadata = fields.url("metadata_url", Some(METADATA));
    let account = match (fields.text("key_file"), metadata) {
        (None, Some(url)) => Account::Machine(url),
        // Without a URL, a finding was written already.
        (path, _) => Account::Key(path.unwrap_or_default().into()),
    };
    let settings = Settings {
        basics,
        project,
        location,
        namespaces: namespaces(&mut fields),
        servers,
        account,
        poll: fields.span(
            "poll",
            Duration::from_secs(10),
            (SECOND, Duration::from_hours(24)),
        ),
        timeout: fields.span(
            "timeout",
            Duration::from_secs(10),
            (Duration::from_millis(100), Duration::from_mins(5)),
        ),
    };
    fields.finish(settings)
}

fn is_id(text: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-:.".contains(&byte);
    !text.is_empty() && text.len() <= ID_BYTES_MAX && text.bytes().all(fits)
}

fn needed(fields: &mut Fields<'_>, name: &'static str, example: &str) -> String {
    let text = fields.text(name).unwrap_or_default();
    if !is_id(text) {
        let message = if text.is_empty() {
            format!("a `service_directory` source needs a {name}")
        } else {
            format!("`{text}` is no {name}")
        };
        fields.problem(
            Problem::new(format!("/{name}"), message)
                .with_help(format!("write it like `{name}: {example}`")),
        );
    }
    text.to_owned()
}

fn namespaces(fields: &mut Fields<'_>) -> Vec<String> {
    let texts = fields.texts("namespaces");
    if texts.len() > NAMESPACES_MAX {
        fields.refuse(
            "namespaces",
            format!("there are more than {NAMESPACES_MAX} namespaces"),
        );
    }
    let mut namespaces = Vec::new();
    for (index, text) in texts {
        if is_id(text) {
            namespaces.push(text.to_owned());
        } else {
            fields.refuse(
                &format!("namespaces/{index}"),
                format!("`{text}` is not the id of a namespace"),
            );
        }
    }
    namespaces
}

pub(super) fn schema() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let or = |default: &str, description: &str| json!({"type": "string", "default": default, "description": description});
    let mut properties: Map<String, Value> = [
        ("project", text("The project's id.")),
        ("location", text("The location, like europe-west1.")),
        (
            "namespaces",
            json!({"type": "array", "maxItems": NAMESPACES_MAX, "items": {"type": "string"}, "description": "Ids of namespaces; all of the location by default."}),
        ),
        (
            "key_file",
            json!({"type": "string", "format": "path", "description": "The JSON file of a service account's key; without it the machine's own account is used."}),
        ),
        ("metadata_url", or(METADATA, "Where the token of the machine's own account is asked for.")),
        ("endpoint", or(ENDPOINT, "The API's address.")),
        ("poll", or("10s", "How often everything is read.")),
        ("timeout", or("10s", "Time for one answer.")),
    ]
    .map(|(name, schema)| (name.to_owned(), schema))
    .into_iter()
    .collect();
    let mut servers = Map::new();
    ServersSettings::describe(&mut servers);
    properties.extend(servers.remove("tls").map(|tls| ("tls".to_owned(), tls)));
    Basics::describe(&mut properties, NAMES);
    json!({"type": "object", "additionalProperties": false, "required": ["project", "location"], "properties": properties})
}
