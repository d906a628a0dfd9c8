//! Settings of the `consul` source.

use std::{any::Any, collections::BTreeSet, sync::Arc, time::Duration};

use http::HeaderName;
use portolan_catalog::{Source, SourceSpec};
use portolan_model::{Problem, SourceId};
use portolan_runtime::Env;
use serde_json::{Map, Value, json};

use super::watch::Watch;
use portolan_sources::frame::{Basics, Fields, ServersSettings, following};

/// What expressions may speak of.
const NAMES: &[&str] = &["Node", "Service", "Checks"];
const EXAMPLE: &str = "http://127.0.0.1:8500";
const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
/// Most datacenters, services, tags and queries that are named.
const NAMED_MAX: usize = 1000;
const DATACENTERS_MAX: usize = 16;
/// As long as a Consul lets wait who does not say.
const WAIT: Duration = Duration::from_mins(5);
const WAIT_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(10));
const QUERY_INTERVAL: Duration = Duration::from_secs(10);
const QUERY_BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_hours(1));

/// Well below the 200 that a Consul allows a client.
const CONNECTIONS: u64 = 64;
const CONNECTIONS_BOUNDS: (u64, u64) = (1, 8192);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) basics: Basics,
    pub(super) servers: ServersSettings,
    /// The agent's own if there are none.
    pub(super) datacenters: Vec<String>,
    /// All if there are none.
    pub(super) services: BTreeSet<String>,
    pub(super) tags: Vec<String>,
    pub(super) is_stale_allowed: bool,
    pub(super) wait: Duration,
    /// For blocking queries of services, in all datacenters together.
    pub(super) connections: usize,
    pub(super) queries: Vec<String>,
    pub(super) query_interval: Duration,
}

impl Settings {
    /// The connections for services of one datacenter.
    pub(super) fn connections_each(&self) -> usize {
        let datacenters = self.datacenters.len().max(1);
        self.connections
            .checked_div(datacenters)
            .unwrap_or(1)
            .max(1)
    }
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
    let mut servers = ServersSettings::read(&mut fields, EXAMPLE);
    if let Some(token) = fields.text("token") {
        servers.show(&mut fields, TOKEN, ("token", token.to_owned()));
    }
    let settings = Settings {
        servers,
        datacenters: named(&mut fields, "datacenters", DATACENTERS_MAX),
        services: named(&mut fields, "services", NAMED_MAX)
            .into_iter()
            .collect(),
        tags: named(&mut fields, "tags", NAMED_MAX),
        is_stale_allowed: fields.flag("stale", true),
        wait: fields.span("wait", WAIT, WAIT_BOUNDS),
        connections: connections(&mut fields),
        queries: named(&mut fields, "queries", NAMED_MAX),
        query_interval: fields.span("query_interval", QUERY_INTERVAL, QUERY_BOUNDS),
        basics: Basics::read(&mut fields, NAMES),
    };
    fields.finish(settings)
}

fn connections(fields: &mut Fields<'_>) -> usize {
    let number = fields.number("connections", CONNECTIONS, CONNECTIONS_BOUNDS);
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A list of names, each once.
fn named(fields: &mut Fields<'_>, name: &'static str, max: usize) -> Vec<String> {
    let texts = fields.texts(name);
    if texts.len() > max {
        fields.refuse(name, format!("there are more than {max}"));
    }
    let mut names: Vec<String> = Vec::new();
    for (index, text) in texts {
        let path = format!("{name}/{index}");
        if text.is_empty() {
            fields.refuse(&path, "this is empty");
        } else if names.iter().any(|known| known == text) {
            fields.refuse(&path, format!("`{text}` is named twice"));
        } else {
            names.push(text.to_owned());
        }
    }
    names
}

pub(super) fn schema() -> Value {
    let list = |max: usize, what: &str| json!({"type": "array", "maxItems": max, "items": {"type": "string", "minLength": 1}, "description": what});
    let mut properties = Map::new();
    ServersSettings::describe(&mut properties);
    let own = [
        (
            "token",
            json!({"type": "string", "description": "A token that may read services and nodes; sent as X-Consul-Token."}),
        ),
        (
            "datacenters",
            list(
                DATACENTERS_MAX,
                "Datacenters to read; the agent's own by default.",
            ),
        ),
        (
            "services",
            list(NAMED_MAX, "Services to take; all by default."),
        ),
        (
            "tags",
            list(NAMED_MAX, "Tags, all of which an instance must have."),
        ),
        (
            "stale",
            json!({"type": "boolean", "default": true, "description": "Whether any server may answer, not only the leader."}),
        ),
        (
            "wait",
            json!({"type": "string", "default": "5m", "description": "How long a query blocks when nothing changes, from 1s to 10m. Over HTTP/1 30s at most, and less where somebody cuts it."}),
        ),
        (
            "connections",
            json!({"type": "integer", "minimum": CONNECTIONS_BOUNDS.0, "maximum": CONNECTIONS_BOUNDS.1, "default": CONNECTIONS, "description": "Connections for blocking queries of single services; a service has one of its own as long as there are enough. HTTP/2 carries up to 100 queries on each, HTTP/1 one. A Consul allows 200 a client: limits.http_max_conns_per_client."}),
        ),
        (
            "queries",
            list(
                NAMED_MAX,
                "Prepared queries; each becomes a service of its name.",
            ),
        ),
        (
            "query_interval",
            json!({"type": "string", "default": "10s", "description": "How often prepared queries are executed."}),
        ),
    ];
    properties.extend(own.map(|(name, schema)| (name.to_owned(), schema)));
    Basics::describe(&mut properties, NAMES);
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}
