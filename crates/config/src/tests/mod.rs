//! The whole reader, from text to plan and findings.

mod access;
mod dns;
mod dns_beyond;
mod hostile;
mod objects;
mod plugs;
mod quarantine;
mod relations;

pub(crate) use objects::EVERYTHING;

use std::sync::Arc;

use portolan_catalog::{Inbox, Source, SourceKind, SourceRun, SourceSpec};
use portolan_model::{Problem, SourceId};
use portolan_policy::{Phase, Policy, PolicyKind, PolicySpec};
use portolan_runtime::Env;
use serde_json::{Value, json};

use crate::{Finding, Outside, Plan, Severity, Shelves, read};

/// A policy that wants `{level: <number>}`.
#[derive(Debug)]
struct Mark;

impl Policy for Mark {}

impl PolicySpec for Mark {
    fn phase(&self) -> Phase {
        Phase::Admit
    }

    fn build(&self, _: &Env) -> Arc<dyn Policy> {
        Arc::new(Self)
    }
}

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "level": {"type": "integer", "description": "How much."},
        "path": {"type": "string", "format": "path", "description": "Which file."},
    }, "additionalProperties": false})
}

fn level(settings: &Value) -> Result<(), Vec<Problem>> {
    match settings.get("level") {
        Some(Value::Number(_)) => Ok(()),
        _ => Err(vec![
            Problem::new("/level", "a level is a number").with_help("like 3"),
        ]),
    }
}

const POLICIES: &[PolicyKind] = &[PolicyKind {
    name: "mark",
    summary: "Marks.",
    schema,
    example: "level: 1",
    bad_example: "level: x",
    parse: |settings| level(settings).map(|()| Arc::new(Mark) as Arc<dyn PolicySpec>),
}];

/// A source that wants `{path: <text>}`, and keeps it.
#[derive(Debug, PartialEq)]
pub(crate) struct Still(pub(crate) String);

impl Source for Still {
    fn run(self: Box<Self>, _: Inbox) -> SourceRun {
        Box::pin(async {})
    }
}

impl SourceSpec for Still {
    fn build(&self, _: &SourceId, _: &Env) -> Box<dyn Source> {
        Box::new(Self(self.0.clone()))
    }

    fn same_as(&self, other: &dyn SourceSpec) -> bool {
        (other as &dyn std::any::Any).downcast_ref() == Some(self)
    }
}

const SOURCES: &[SourceKind] = &[SourceKind {
    name: "still",
    summary: "Says nothing.",
    schema,
    example: "path: a",
    bad_example: "path: 1",
    mapping: "word -> tags\n",
    parse: |settings| match settings.get("path") {
        Some(Value::String(path)) => Ok(Arc::new(Still(path.clone())) as Arc<dyn SourceSpec>),
        _ => Err(vec![Problem::new("/path", "a path is needed")]),
    },
}];

pub(crate) const SHELVES: Shelves<'static> = Shelves {
    policies: POLICIES,
    sources: &[SOURCES],
    balancers: portolan_balance::KINDS,
};

pub(crate) fn outside() -> Outside<'static> {
    Outside {
        shelves: SHELVES,
        folder: std::path::Path::new("/etc/portolan"),
        variable: &|name| match name {
            "PORT" => Some("8443".to_owned()),
            "SECRET" => Some("hush".to_owned()),
            _ => None,
        },
        certificate: &|files| match files.certificate.to_str() {
            Some("/etc/portolan/bad.pem") => Err(Problem::new("/certificate", "not a certificate")),
            _ => Ok(()),
        },
        roots: &|file| match file.to_str() {
            Some("/etc/portolan/none.pem") => Err(Problem::new("", "no such file")),
            _ => Ok(()),
        },
    }
}

/// Plan and findings of a text.
pub(crate) fn reading(text: &str) -> (Option<Plan>, Vec<Finding>) {
    match read("portolan.yaml", text, &outside()) {
        Ok(plan) => {
            let findings = plan.findings.clone();
            (Some(plan), findings)
        }
        Err(findings) => (None, findings),
    }
}

/// The plan of a text without any finding.
pub(crate) fn plan(text: &str) -> Plan {
    let (plan, findings) = reading(text);
    let told: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{told:#?}\n{text}");
    plan.unwrap()
}

/// The findings of a text, as people read them.
pub(crate) fn told(text: &str) -> Vec<String> {
    reading(text).1.iter().map(ToString::to_string).collect()
}

/// Asserts that a text has exactly one finding, and that it is an error with these words.
#[track_caller]
pub(crate) fn refused(text: &str, words: &str) {
    one(text, Severity::Error, words);
}

/// Asserts that a text has exactly one finding, and that it is a warning with these words.
#[track_caller]
pub(crate) fn warned(text: &str, words: &str) {
    one(text, Severity::Warning, words);
}

#[track_caller]
fn one(text: &str, severity: Severity, words: &str) {
    let (_, findings) = reading(text);
    let told: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:#?}\n{text}");
    assert!(told[0].contains(words), "{told:#?}\n{text}");
    assert_eq!(findings[0].severity, severity, "{told:#?}");
}
