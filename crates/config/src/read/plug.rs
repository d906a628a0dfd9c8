//! Reads plugs: a kind's row is looked up and parses the settings.

use std::sync::Arc;

use portolan_balance::BalanceSpec;
use portolan_catalog::SourceSpec;
use portolan_model::{Problem, Spec};
use serde_json::{Map, Value as Json};

use super::Reader;
use crate::{
    PlannedPolicy,
    suggest::did_you_mean,
    tree::{Member, Node, Value},
};

/// The kind and settings of a checked plug.
fn parts(node: &Node) -> Option<&Member> {
    match &node.value {
        Value::Map(members) if node.is_sound => members.first(),
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => None,
    }
}

impl Reader<'_> {
    /// Parses the settings of a kind. Settings that its schema does not know are told here, for
    /// all kinds alike; what only follows from them is not told.
    fn parsed<T>(
        &mut self,
        member: &Member,
        schema: &Json,
        parsed: Result<T, Vec<Problem>>,
    ) -> Option<T> {
        let settings = &member.node;
        let mut unknown = Vec::new();
        self.unknown_settings(settings, schema, "", &mut unknown);
        match parsed {
            Ok(spec) if unknown.is_empty() => Some(spec),
            Ok(_) => None,
            Err(mut problems) => {
                if !unknown.is_empty() {
                    problems.retain(|problem| {
                        is_given(settings, &problem.path) && !unknown.contains(&problem.path)
                    });
                }
                self.report.problems(settings, member.key_span, problems);
                None
            }
        }
    }

    /// Tells of settings that a closed schema does not name, and gathers their pointers.
    fn unknown_settings(
        &mut self,
        settings: &Node,
        schema: &Json,
        pointer: &str,
        unknown: &mut Vec<String>,
    ) {
        let Value::Map(members) = &settings.value else {
            return;
        };
        let properties = schema.get("properties").and_then(Json::as_object);
        let is_closed = schema.get("additionalProperties") == Some(&Json::Bool(false));
        for member in members {
            let key = member.key.replace('~', "~0").replace('/', "~1");
            let at = format!("{pointer}/{key}");
            let known = properties.and_then(|properties| properties.get(&member.key));
            match known {
                Some(schema) => self.unknown_settings(&member.node, schema, &at, unknown),
                None if is_closed => {
                    let names = properties.into_iter().flat_map(Map::keys);
                    let problem = no_setting(&member.key, names.map(String::as_str));
                    self.report.error(member.key_span, problem);
                    unknown.push(at);
                }
                None => {}
            }
        }
    }

    /// The policies under `policies`; what is absent is empty. `None` if one is bad.
    pub(crate) fn policies(&mut self, node: &Node) -> Option<Vec<PlannedPolicy>> {
        if !node.has("policies") {
            return Some(Vec::new());
        }
        self.policy_list(node.get("policies")?)
    }

    /// All policies of a list, each one read, so that all its problems are told.
    pub(crate) fn policy_list(&mut self, list: &Node) -> Option<Vec<PlannedPolicy>> {
        let read: Vec<_> = list.items().iter().map(|item| self.policy(item)).collect();
        read.into_iter().collect()
    }

    fn policy(&mut self, node: &Node) -> Option<PlannedPolicy> {
        let member = parts(node)?;
        let mut kinds = self.outside.shelves.policies.iter().enumerate();
        let (rank, kind) = kinds.find(|(_, kind)| kind.name == member.key)?;
        let parsed = (kind.parse)(&member.node.to_json());
        let spec = self.parsed(member, &(kind.schema)(), parsed)?;
        Some(PlannedPolicy {
            kind: kind.name,
            rank,
            spec,
        })
    }

    pub(crate) fn balance(&mut self, node: &Node) -> Option<Arc<dyn BalanceSpec>> {
        let member = parts(node)?;
        let kind = self
            .outside
            .shelves
            .balancers
            .iter()
            .find(|kind| kind.name == member.key)?;
        let parsed = (kind.parse)(&member.node.to_json());
        self.parsed(member, &(kind.schema)(), parsed)
    }

    /// A source and the word of its kind.
    pub(crate) fn source(&mut self, node: &Node) -> Option<(&'static str, Arc<dyn SourceSpec>)> {
        let member = parts(node)?;
        let kind = self
            .outside
            .shelves
            .sources
            .iter()
            .copied()
            .flatten()
            .find(|kind| kind.name == member.key)?;
        let schema = (kind.schema)();
        let settings = self.with_files(&member.node.to_json(), &schema);
        let spec = self.parsed(member, &schema, (kind.parse)(&settings))?;
        Some((kind.name, spec))
    }

    /// The settings with their files as they are opened: a kind's schema says `format: path`
    /// where a text is a file, and files are relative to the folder of the configuration.
    fn with_files(&self, settings: &Json, schema: &Json) -> Json {
        match settings {
            Json::String(text) if schema.get("format").is_some_and(|format| format == "path") => {
                Json::String(self.file(text).to_string_lossy().into_owned())
            }
            Json::Object(members) => {
                let properties = schema.get("properties");
                let member = |(key, value): (&String, &Json)| {
                    let schema = properties.and_then(|properties| properties.get(key));
                    (
                        key.clone(),
                        self.with_files(value, schema.unwrap_or(&Json::Null)),
                    )
                };
                Json::Object(members.iter().map(member).collect())
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                settings.clone()
            }
        }
    }
}

fn no_setting<'a>(key: &str, known: impl Iterator<Item = &'a str> + Clone) -> Problem {
    let help = did_you_mean(key, known.clone()).unwrap_or_else(|| {
        let known: Vec<_> = known.collect();
        if known.is_empty() {
            "there is nothing to set".to_owned()
        } else {
            format!("known are: {}", known.join(", "))
        }
    });
    Problem::new("", format!("there is no setting `{key}`")).with_help(help)
}

/// Whether a pointer leads to something below the node that was written.
fn is_given(node: &Node, pointer: &str) -> bool {
    let mut at = node;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        let next = match &at.value {
            Value::Map(members) => members
                .iter()
                .find(|member| member.key == part)
                .map(|member| &member.node),
            Value::List(items) => part.parse().ok().and_then(|place: usize| items.get(place)),
            Value::Scalar(_) => None,
        };
        let Some(next) = next else { return false };
        at = next;
    }
    !pointer.is_empty()
}

/// A plug as a noun: kind and settings, unread.
pub(super) fn spec(node: &Node) -> Option<Spec> {
    let member = parts(node)?;
    Some(Spec {
        kind: member.key.clone(),
        settings: member.node.to_json(),
    })
}
