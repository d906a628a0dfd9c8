//! Settings of `headers`.

use std::sync::Arc;

use portolan_model::Problem;
use portolan_policy::{ParsedPolicy, Phase, Policy, PolicySpec};
use portolan_runtime::Env;
use serde_json::Value;

use super::policy::Headers;
use crate::reader::{Field, Problems, Reader, field};

/// Changes of one head, in the order in which they are applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) remove: Box<[Box<str>]>,
    pub(super) set: Box<[Field]>,
    pub(super) add: Box<[Field]>,
}

/// Parsed settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) request: Changes,
    pub(super) response: Changes,
}

impl PolicySpec for Spec {
    fn phase(&self) -> Phase {
        Phase::Shape
    }

    fn build(&self, _: &Env) -> Arc<dyn Policy> {
        Arc::new(Headers::new(self.clone()))
    }
}

/// Reads settings.
pub(super) fn parse(value: &Value) -> ParsedPolicy {
    let mut problems = Problems::default();
    let settings = Reader::open(value, &["request", "response"], &mut problems);
    let spec = Spec {
        request: changes(&settings, "request", &mut problems),
        response: changes(&settings, "response", &mut problems),
    };
    if !settings.has("request") && !settings.has("response") {
        let problem = Problem::new("", "this changes nothing");
        problems.add(problem.with_help("give `request` or `response` something to do"));
    }
    problems.none_or(|| Arc::new(spec))
}

fn changes(settings: &Reader<'_>, key: &str, problems: &mut Problems) -> Changes {
    let changes = settings.nested(key, &["remove", "set", "add"], problems);
    let mut remove: Vec<Box<str>> = Vec::new();
    for (at, name) in changes.texts("remove", problems) {
        match field(&name, "") {
            Ok((name, _)) => remove.push(name),
            Err(problem) => problems.add(Problem {
                path: at,
                ..problem
            }),
        }
    }
    let set = fields(&changes, "set", problems);
    let add = fields(&changes, "add", problems);
    for (name, _) in &set {
        if remove.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            let message = format!("`{name}` is both removed and set; setting alone will do");
            problems.add(Problem::new(changes.at("remove"), message));
        }
    }
    Changes {
        remove: remove.into(),
        set: set.into(),
        add: add.into(),
    }
}

fn fields(changes: &Reader<'_>, key: &str, problems: &mut Problems) -> Vec<Field> {
    let given = changes.free(key, problems);
    let mut fields: Vec<Field> = Vec::new();
    for name in given.keys() {
        let values = given.texts(name, problems);
        let is_again = fields
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name));
        if key == "set" && (values.len() > 1 || is_again) {
            let problem =
                Problem::new(given.at(name), format!("`{name}` is set to several values"));
            problems.add(problem.with_help("the field stands once; use `add` for several"));
        }
        for (at, value) in values {
            match field(name, &value) {
                Ok(field) => fields.push(field),
                Err(problem) => problems.add(Problem {
                    path: at,
                    ..problem
                }),
            }
        }
    }
    fields
}
