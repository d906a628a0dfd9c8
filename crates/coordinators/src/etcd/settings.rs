//! Settings of the `etcd` source.

use std::{any::Any, sync::Arc};

use portolan_catalog::{Source, SourceSpec};
use portolan_model::{Problem, SourceId};
use portolan_runtime::Env;
use portolan_sources::frame::{Basics, Fields, ServersSettings, following};
use serde_json::{Map, Value, json};

use super::watch::Etcd;
use crate::secret::Login;

/// What expressions may speak of.
const NAMES: &[&str] = &["key", "value"];

/// How keys and values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Layout {
    /// As the naming package of gRPC does.
    #[default]
    Grpc,
    /// As `SkyDNS` and CoreDNS read it.
    Skydns,
    /// Our own.
    Portolan,
}

const LAYOUTS: [(&str, Layout); 3] = [
    ("grpc", Layout::Grpc),
    ("skydns", Layout::Skydns),
    ("portolan", Layout::Portolan),
];

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) servers: ServersSettings,
    pub(super) login: Option<Login>,
    pub(super) layout: Layout,
    /// Without a slash at its end.
    pub(super) prefix: String,
    pub(super) basics: Basics,
}

impl SourceSpec for Settings {
    fn build(&self, id: &SourceId, env: &Env) -> Box<dyn Source> {
        following(Etcd::new(self.clone(), id.clone(), env.clone()), env)
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
    let servers = ServersSettings::read(&mut fields, "http://127.0.0.1:2379");
    let is_given = fields.value("layout").is_some();
    let layout = fields.word("layout", &LAYOUTS);
    // Which prefix an unknown layout needs nobody can say.
    let known = layout.or_else(|| (!is_given).then(Layout::default));
    let layout = layout.unwrap_or_default();
    let settings = Settings {
        login: Login::read(&mut fields),
        layout,
        prefix: prefix(&mut fields, known),
        basics: Basics::read(&mut fields, NAMES),
        servers,
    };
    if settings
        .servers
        .urls
        .iter()
        .any(|url| !url.path().is_empty())
    {
        fields.refuse("urls", "the URL of a member of etcd has no path");
    }
    fields.finish(settings)
}

fn prefix(fields: &mut Fields<'_>, layout: Option<Layout>) -> String {
    let given = fields.text("prefix");
    let prefix = match (given, layout) {
        (Some(prefix), _) => prefix,
        (None, Some(Layout::Skydns)) => "/skydns",
        (None, Some(Layout::Portolan)) => "/portolan/services",
        (None, None) => "",
        (None, Some(Layout::Grpc)) => {
            let message = "the layout `grpc` needs to know what its keys begin with";
            let problem = Problem::new("/prefix", message);
            fields
                .problem(problem.with_help("write `prefix: services`, or `prefix: \"\"` for all"));
            ""
        }
    };
    prefix.trim_end_matches('/').to_owned()
}

pub(super) fn schema() -> Value {
    let mut properties = Map::new();
    ServersSettings::describe(&mut properties);
    let login = Login::schema().into_iter();
    properties.extend(login.map(|(name, schema)| (name.to_owned(), schema)));
    let layouts = LAYOUTS.map(|(name, _)| name);
    properties.insert(
        "layout".to_owned(),
        json!({"enum": layouts, "default": "grpc", "description": "How keys and values are written: as gRPC's naming package does, as SkyDNS and CoreDNS read them, or as registrations of our own API."}),
    );
    properties.insert(
        "prefix".to_owned(),
        json!({"type": "string", "description": "What all keys begin with: `/skydns` by default for `skydns`, `/portolan/services` for `portolan`. `grpc` needs one; \"\" is everything."}),
    );
    Basics::describe(&mut properties, NAMES);
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}
