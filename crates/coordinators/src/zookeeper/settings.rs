//! Settings of the `zookeeper` source.

use std::{any::Any, sync::Arc, time::Duration};

use portolan_catalog::{Source, SourceSpec};
use portolan_model::{Problem, SourceId, route::UpstreamTls};
use portolan_runtime::Env;
use portolan_sources::frame::{Basics, Fields, ServersSettings, following, tls};
use portolan_wire::call::Url;
use serde_json::{Map, Value, json};

use super::{tree::Tree, watch::Zookeeper};
use crate::secret::Login;

/// What expressions may speak of.
const NAMES: &[&str] = &["path", "data"];
/// Most servers of one ensemble.
const SERVERS_MAX: usize = 16;
const SESSION: Duration = Duration::from_secs(10);
const SESSION_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(2));

/// How nodes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Layout {
    #[default]
    Curator,
    Spring,
    Dubbo,
    DubboApp,
}

const LAYOUTS: [(&str, Layout); 4] = [
    ("curator", Layout::Curator),
    ("spring", Layout::Spring),
    ("dubbo", Layout::Dubbo),
    ("dubbo-app", Layout::DubboApp),
];

/// How changes are heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Watches {
    /// One watch over all that stays.
    #[default]
    Recursive,
    /// One a node, armed again after each event.
    Single,
}

const WATCHES: [(&str, Watches); 2] = [
    ("recursive", Watches::Recursive),
    ("single", Watches::Single),
];

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) servers: Vec<Url>,
    pub(super) tls: UpstreamTls,
    pub(super) login: Option<Login>,
    pub(super) session: Duration,
    pub(super) layout: Layout,
    pub(super) tree: Tree,
    pub(super) watches: Watches,
    pub(super) basics: Basics,
}

impl SourceSpec for Settings {
    fn build(&self, id: &SourceId, env: &Env) -> Box<dyn Source> {
        following(Zookeeper::new(self.clone(), id.clone(), env.clone()), env)
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
    let servers = servers(&mut fields);
    let layout = fields.word("layout", &LAYOUTS);
    if layout.is_none() && settings.get("layout").is_none() {
        let problem = Problem::new("/layout", "how the nodes are written is not said");
        let known = LAYOUTS.map(|(name, _)| name).join(", ");
        fields.problem(problem.with_help(format!("write `layout: spring`; known are {known}")));
    }
    let tree = tree(&mut fields, layout);
    let login = Login::read(&mut fields);
    if login
        .as_ref()
        .is_some_and(|login| login.username.contains(':'))
    {
        let message = "there is a colon in it, and what follows would be the password's";
        fields.refuse("username", message);
    }
    let settings = Settings {
        servers,
        tls: tls(&mut fields),
        login,
        session: fields.span("session_timeout", SESSION, SESSION_BOUNDS),
        layout: layout.unwrap_or_default(),
        tree,
        watches: fields.word("watches", &WATCHES).unwrap_or_default(),
        basics: Basics::read(&mut fields, NAMES),
    };
    fields.finish(settings)
}

fn servers(fields: &mut Fields<'_>) -> Vec<Url> {
    let scheme = match fields.value("tls") {
        Some(_) => "https",
        None => "http",
    };
    let texts = fields.texts("servers");
    if texts.is_empty() {
        let problem = Problem::new("/servers", "there is no server to ask");
        fields.problem(problem.with_help("write `servers: [\"127.0.0.1:2181\"]`"));
    }
    if texts.len() > SERVERS_MAX {
        fields.refuse(
            "servers",
            format!("there are more than {SERVERS_MAX} servers"),
        );
    }
    let mut servers = Vec::new();
    for (index, text) in texts {
        let url = Url::parse(&format!("{scheme}://{text}")).ok();
        let has_port = text
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if let Some(url) = url.filter(|url| has_port && url.path().is_empty()) {
            servers.push(url);
            continue;
        }
        let path = format!("/servers/{index}");
        let problem = Problem::new(path, format!("`{text}` is not a host and a port"));
        fields.problem(problem.with_help("write it like `10.0.0.1:2181`"));
    }
    servers
}

fn tree(fields: &mut Fields<'_>, layout: Option<Layout>) -> Tree {
    let chroot = fields.text("chroot").unwrap_or_default();
    let base = fields.text("base");
    for (name, path) in [("chroot", Some(chroot)), ("base", base)] {
        let path = path.unwrap_or_default();
        if !path.is_empty() && (!path.starts_with('/') || path.contains("//")) {
            fields.refuse(name, format!("`{path}` is not a path like /apps"));
        }
    }
    let base = match (base, layout) {
        (Some(base), _) => base,
        (None, Some(Layout::Dubbo)) => "/dubbo",
        (None, Some(Layout::Spring | Layout::DubboApp) | None) => "/services",
        (None, Some(Layout::Curator)) => {
            let message =
                "the layout `curator` needs to know the node that its services stand under";
            let problem = Problem::new("/base", message);
            fields.problem(problem.with_help("write `base: /services`"));
            ""
        }
    };
    Tree::new(
        chroot.trim_end_matches('/'),
        base,
        layout.unwrap_or_default(),
    )
}

pub(super) fn schema() -> Value {
    let text = |what: &str| json!({"type": "string", "description": what});
    let mut shared = Map::new();
    ServersSettings::describe(&mut shared);
    let mut properties = Map::new();
    properties.insert(
        "servers".to_owned(),
        json!({
            "type": "array", "minItems": 1, "maxItems": SERVERS_MAX, "items": {"type": "string"},
            "description": "The servers of the ensemble, like 10.0.0.1:2181; the next one is asked when one does not answer."
        }),
    );
    properties.insert(
        "chroot".to_owned(),
        text("A path that stands before all others."),
    );
    let mut tls = shared.remove("tls").unwrap_or_default();
    if let Some(tls) = tls.as_object_mut() {
        let what = "Speak TLS with the servers; {} is enough, with the system's roots.";
        tls.insert("description".to_owned(), json!(what));
    }
    properties.insert("tls".to_owned(), tls);
    let login = Login::schema().into_iter();
    properties.extend(login.map(|(name, schema)| (name.to_owned(), schema)));
    properties.insert(
        "session_timeout".to_owned(),
        json!({"type": "string", "default": "10s", "description": "How long a server may let pass without a sign of life; the server may grant another."}),
    );
    properties.insert(
        "layout".to_owned(),
        json!({"enum": LAYOUTS.map(|(name, _)| name), "description": "How nodes are written: by Curator, Spring Cloud, Dubbo per interface, or Dubbo per application."}),
    );
    properties.insert(
        "base".to_owned(),
        text("The node that the services stand under: /services by default, /dubbo for `dubbo`; `curator` needs one."),
    );
    properties.insert(
        "watches".to_owned(),
        json!({"enum": WATCHES.map(|(name, _)| name), "default": "recursive", "description": "One watch over all, or one a node, as servers before 3.6 need it."}),
    );
    Basics::describe(&mut properties, NAMES);
    json!({"type": "object", "additionalProperties": false, "required": ["servers", "layout"], "properties": properties})
}
