//! Settings of the `nacos` source.

use std::{any::Any, sync::Arc, time::Duration};

use portolan_catalog::{Source, SourceSpec};
use portolan_model::{Problem, SourceId};
use portolan_runtime::Env;
use portolan_sources::frame::{Basics, Fields, ServersSettings, following};
use portolan_wire::call::Url;
use serde_json::{Map, Value, json};

use super::{map::NAMES, watch::Nacos};
use crate::secret::Login;

/// The path of Nacos's API where nobody says another.
const PATH: &str = "/nacos";
/// How far the gRPC port is from that of HTTP.
const PORT_OFFSET: u16 = 1000;
const REFRESH: Duration = Duration::from_secs(5);
const REFRESH_BOUNDS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_hours(1));
/// Most namespaces, and most groups.
const SCOPES_MAX: usize = 64;

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Speech {
    /// Subscriptions over gRPC.
    #[default]
    Grpc,
    /// Polls over HTTP.
    Http,
}

const SPEECHES: [(&str, Speech); 2] = [("grpc", Speech::Grpc), ("http", Speech::Http)];

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) servers: ServersSettings,
    pub(super) login: Option<Login>,
    pub(super) speech: Speech,
    pub(super) grpc_port: Option<u16>,
    pub(super) namespaces: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) refresh: Duration,
    pub(super) basics: Basics,
}

impl Settings {
    /// Namespace and group of everything that is read.
    pub(super) fn scopes(&self) -> impl Iterator<Item = (&String, &String)> {
        let namespaces = self.namespaces.iter();
        namespaces.flat_map(|namespace| self.groups.iter().map(move |group| (namespace, group)))
    }

    /// Where gRPC is spoken.
    pub(super) fn grpc_url(&self, url: &Url) -> Option<Url> {
        let port = match self.grpc_port {
            Some(port) => port,
            None => url.port().checked_add(PORT_OFFSET)?,
        };
        let text = url.to_string();
        let scheme = text.split_once("://").map_or("http", |(scheme, _)| scheme);
        let host = url.host();
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        Url::parse(&format!("{scheme}://{host}:{port}")).ok()
    }
}

impl SourceSpec for Settings {
    fn build(&self, id: &SourceId, env: &Env) -> Box<dyn Source> {
        following(Nacos::new(self.clone(), id.clone(), env.clone()), env)
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
    let mut servers = ServersSettings::read(&mut fields, "http://127.0.0.1:8848");
    for url in &mut servers.urls {
        if url.path().is_empty()
            && let Ok(longer) = Url::parse(&format!("{url}{PATH}"))
        {
            *url = longer;
        }
    }
    let port = fields.number("grpc_port", 0, (1, u64::from(u16::MAX)));
    let settings = Settings {
        servers,
        login: Login::read(&mut fields),
        speech: fields.word("protocol", &SPEECHES).unwrap_or_default(),
        grpc_port: u16::try_from(port).ok().filter(|port| *port != 0),
        namespaces: scopes(&mut fields, "namespaces", "public"),
        groups: scopes(&mut fields, "groups", "DEFAULT_GROUP"),
        refresh: fields.span("refresh", REFRESH, REFRESH_BOUNDS),
        basics: Basics::read(&mut fields, NAMES),
    };
    if settings.speech == Speech::Http && settings.grpc_port.is_some() {
        let message = "there is a `grpc_port`, but `protocol` is `http`";
        let problem = Problem::new("/grpc_port", message);
        fields.problem(problem.with_help("leave one of them out"));
    }
    for (index, url) in settings.servers.urls.iter().enumerate() {
        if settings.speech == Speech::Grpc && settings.grpc_url(url).is_none() {
            let message = "there is no port 1000 above this one for gRPC";
            let problem = Problem::new(format!("/urls/{index}"), message);
            fields.problem(problem.with_help("name it by `grpc_port`, or choose `protocol: http`"));
        }
    }
    fields.finish(settings)
}

fn scopes(fields: &mut Fields<'_>, name: &'static str, default: &str) -> Vec<String> {
    let texts = fields.texts(name);
    if texts.len() > SCOPES_MAX {
        fields.refuse(name, format!("there are more than {SCOPES_MAX} {name}"));
    }
    let mut scopes: Vec<String> = Vec::new();
    for (index, text) in texts {
        let path = format!("{name}/{index}");
        if text.is_empty() {
            fields.refuse(
                &path,
                format!("this is empty; the usual one is `{default}`"),
            );
        } else if scopes.iter().any(|known| known == text) {
            fields.refuse(&path, format!("`{text}` is named twice"));
        } else {
            scopes.push(text.to_owned());
        }
    }
    if scopes.is_empty() {
        scopes.push(default.to_owned());
    }
    scopes
}

pub(super) fn schema() -> Value {
    let mut properties = Map::new();
    ServersSettings::describe(&mut properties);
    let login = Login::schema().into_iter();
    properties.extend(login.map(|(name, schema)| (name.to_owned(), schema)));
    let list = |default: &str, what: &str| {
        json!({
            "type": "array", "maxItems": SCOPES_MAX, "items": {"type": "string", "minLength": 1},
            "default": [default], "description": what
        })
    };
    let own = [
        (
            "protocol",
            json!({"enum": SPEECHES.map(|(name, _)| name), "default": "grpc", "description": "Subscriptions over gRPC, for servers from 2.0 on, or polls over HTTP."}),
        ),
        (
            "grpc_port",
            json!({"type": "integer", "minimum": 1, "maximum": 65535, "description": "The port of gRPC; 1000 above that of HTTP by default."}),
        ),
        (
            "namespaces",
            list("public", "Ids of the namespaces that are read."),
        ),
        ("groups", list("DEFAULT_GROUP", "The groups that are read.")),
        (
            "refresh",
            json!({"type": "string", "default": "5s", "description": "How often new services are looked for; over HTTP, everything."}),
        ),
    ];
    properties.extend(own.map(|(name, schema)| (name.to_owned(), schema)));
    Basics::describe(&mut properties, NAMES);
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}
