//! Settings of `redirect`.

use std::sync::Arc;

use portolan_model::{
    Problem,
    http::{Scheme, Status},
};
use portolan_policy::{ParsedPolicy, Phase, Policy, PolicySpec};
use portolan_runtime::Env;
use serde_json::Value;

use super::policy::Redirect;
use crate::{
    path_change::{PathChange, Port, read_host},
    reader::{Problems, Reader},
};

/// What a redirect may answer.
pub(super) const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// Parsed settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) status: Status,
    pub(super) scheme: Option<Scheme>,
    pub(super) host: Option<Box<str>>,
    pub(super) port: Option<u16>,
    pub(super) path: Option<PathChange>,
}

impl PolicySpec for Spec {
    fn phase(&self) -> Phase {
        Phase::Shape
    }

    fn build(&self, _: &Env) -> Arc<dyn Policy> {
        Arc::new(Redirect::new(self.clone()))
    }
}

/// Reads settings.
pub(super) fn parse(value: &Value) -> ParsedPolicy {
    let mut problems = Problems::default();
    let known = ["status", "scheme", "host", "port", "prefix", "path"];
    let settings = Reader::open(value, &known, &mut problems);
    let spec = Spec {
        status: settings
            .read("status", &mut problems, status)
            .unwrap_or(Status::FOUND),
        scheme: settings.read("scheme", &mut problems, scheme),
        host: read_host(&settings, Port::Apart, &mut problems),
        port: settings.read("port", &mut problems, port),
        path: PathChange::read(&settings, &mut problems),
    };
    if !known[1..].iter().any(|key| settings.has(key)) {
        let problem = Problem::new("", "this redirects every request to itself");
        problems.add(problem.with_help("give a `scheme`, `host`, `port`, `prefix` or `path`"));
    }
    problems.none_or(|| Arc::new(spec))
}

fn status(text: &str) -> Result<Status, String> {
    let code = text.parse().ok().filter(|code| STATUSES.contains(code));
    code.and_then(Status::new)
        .ok_or_else(|| format!("`{text}` is not 301, 302, 303, 307 or 308"))
}

fn scheme(text: &str) -> Result<Scheme, String> {
    match text {
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        _ => Err(format!("`{text}` is not `http` or `https`")),
    }
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| format!("`{text}` is no port"))
}
