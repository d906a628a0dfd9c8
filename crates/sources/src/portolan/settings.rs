//! Settings of the `portolan` source.

use std::{any::Any, collections::BTreeMap, sync::Arc};

use portolan_catalog::{Source, SourceSpec};
use portolan_dialects::native::InstanceView;
use portolan_model::{Name, Problem, ServiceKey, SourceId};
use portolan_runtime::Env;
use serde_json::{Map, Value, json};

use super::watch::Watch;
use crate::frame::{Basics, Fields, ServersSettings, following};

/// Namespaces that speak of a Portolan's own surroundings.
const OWN_NAMESPACES: [&str; 2] = ["dns", "consul-nodes"];
const EXAMPLE: &str = "http://127.0.0.1:9070";

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) basics: Basics,
    pub(super) servers: ServersSettings,
    /// Theirs and ours; all if there are none.
    pub(super) namespaces: BTreeMap<String, Name>,
}

impl Settings {
    /// Our name of one of their namespaces; none if it is not wanted.
    pub(super) fn namespace<'a>(&'a self, theirs: &'a str) -> Option<&'a str> {
        if self.namespaces.is_empty() {
            return Some(theirs).filter(|theirs| !OWN_NAMESPACES.contains(theirs));
        }
        self.namespaces.get(theirs).map(Name::as_str)
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

/// What expressions may speak of.
pub(super) fn names() -> Vec<&'static str> {
    let mut names = InstanceView::FIELDS.to_vec();
    names.push("namespace");
    names
}

pub(super) fn parse(settings: &Value) -> Result<Arc<dyn SourceSpec>, Vec<Problem>> {
    let mut fields = Fields::new(settings);
    let mut servers = ServersSettings::read(&mut fields, EXAMPLE);
    if let Some(token) = fields.text("token") {
        servers.authorize(&mut fields, ("token", format!("Bearer {token}")));
    }
    let settings = Settings {
        servers,
        namespaces: namespaces(&mut fields),
        basics: Basics::read(&mut fields, &names()),
    };
    Ok(Arc::new(fields.finish(settings)?))
}

fn namespaces(fields: &mut Fields<'_>) -> BTreeMap<String, Name> {
    let mut namespaces = BTreeMap::new();
    let Some(value) = fields.value("namespaces") else {
        return namespaces;
    };
    let Some(map) = value.as_object().filter(|map| !map.is_empty()) else {
        let problem = Problem::new("/namespaces", "`namespaces` is not a map of namespaces");
        let help = format!(
            "write `namespaces: {{{}: ours}}`",
            ServiceKey::DEFAULT_NAMESPACE
        );
        fields.problem(problem.with_help(help));
        return namespaces;
    };
    for (theirs, ours) in map {
        let path = format!("namespaces/{theirs}");
        let read = (Name::parse(theirs), ours.as_str().map(Name::parse));
        match read {
            (Ok(theirs), Some(Ok(ours))) => {
                namespaces.insert(theirs.as_str().to_owned(), ours);
            }
            (Err(bad), _) | (_, Some(Err(bad))) => fields.refuse(&path, bad.to_string()),
            (_, None) => fields.refuse(&path, "this is not a text"),
        }
    }
    namespaces
}

pub(super) fn schema() -> Value {
    let mut properties = Map::new();
    ServersSettings::describe(&mut properties);
    properties.insert(
        "token".to_owned(),
        json!({"type": "string", "description": "A token that may read the other Portolan's catalogue."}),
    );
    properties.insert(
        "namespaces".to_owned(),
        json!({
            "type": "object", "minProperties": 1, "additionalProperties": {"type": "string"},
            "description": "Our namespaces by theirs; only those that are named are taken. All but `dns` and `consul-nodes`, under their own names, by default."
        }),
    );
    Basics::describe(&mut properties, &names());
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}
