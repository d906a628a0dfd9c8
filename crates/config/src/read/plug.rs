//! Reads plugs: a kind's row is looked up and parses the settings.

use std::sync::Arc;

use portolan_balance::BalanceSpec;
use portolan_catalog::SourceSpec;
use portolan_model::{Problem, Spec};
use serde_json::Value as Json;

use super::Reader;
use crate::{
    PlannedPolicy,
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
    fn parsed<T>(&mut self, member: &Member, parsed: Result<T, Vec<Problem>>) -> Option<T> {
        match parsed {
            Ok(spec) => Some(spec),
            Err(problems) => {
                self.report
                    .problems(&member.node, member.key_span, problems);
                None
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
        let spec = self.parsed(member, (kind.parse)(&member.node.to_json()))?;
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
        self.parsed(member, (kind.parse)(&member.node.to_json()))
    }

    /// A source and the word of its kind.
    pub(crate) fn source(&mut self, node: &Node) -> Option<(&'static str, Arc<dyn SourceSpec>)> {
        let member = parts(node)?;
        let kind = self
            .outside
            .shelves
            .sources
            .iter()
            .find(|kind| kind.name == member.key)?;
        let settings = self.with_files(&member.node.to_json(), &(kind.schema)());
        let spec = self.parsed(member, (kind.parse)(&settings))?;
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

/// A plug as a noun: kind and settings, unread.
pub(super) fn spec(node: &Node) -> Option<Spec> {
    let member = parts(node)?;
    Some(Spec {
        kind: member.key.clone(),
        settings: member.node.to_json(),
    })
}
