//! Settings of `rewrite`.

use std::sync::Arc;

use portolan_model::Problem;
use portolan_policy::{ParsedPolicy, Phase, Policy, PolicySpec};
use portolan_runtime::Env;
use serde_json::Value;

use super::policy::Rewrite;
use crate::{
    path_change::{PathChange, Port, read_host},
    reader::{Problems, Reader},
};

/// Parsed settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) path: Option<PathChange>,
    pub(super) host: Option<Box<str>>,
}

impl PolicySpec for Spec {
    fn phase(&self) -> Phase {
        Phase::Shape
    }

    fn build(&self, _: &Env) -> Arc<dyn Policy> {
        Arc::new(Rewrite::new(self.clone()))
    }
}

/// Reads settings.
pub(super) fn parse(value: &Value) -> ParsedPolicy {
    let mut problems = Problems::default();
    let known = ["prefix", "path", "host"];
    let settings = Reader::open(value, &known, &mut problems);
    let spec = Spec {
        path: PathChange::read(&settings, &mut problems),
        host: read_host(&settings, Port::Within, &mut problems),
    };
    if !known.iter().any(|key| settings.has(key)) {
        let problem = Problem::new("", "this rewrites nothing");
        problems.add(problem.with_help("give a `prefix`, a `path` or a `host`"));
    }
    problems.none_or(|| Arc::new(spec))
}
