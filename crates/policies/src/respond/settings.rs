//! Settings of `respond`.

use std::sync::Arc;

use bytes::Bytes;
use portolan_model::{
    Problem,
    http::{Fields, Known, Status},
};
use portolan_policy::{ParsedPolicy, Phase, Policy, PolicySpec};
use portolan_runtime::Env;
use serde_json::Value;

use super::policy::Respond;
use crate::reader::{Problems, Reader, field};

/// Longest body, in bytes: more belongs on a file server.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;

/// Parsed settings.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) status: Status,
    pub(super) fields: Fields,
    pub(super) body: Bytes,
}

impl PolicySpec for Spec {
    fn phase(&self) -> Phase {
        Phase::Shape
    }

    fn build(&self, _: &Env) -> Arc<dyn Policy> {
        Arc::new(Respond::new(self.clone()))
    }
}

/// Reads settings.
pub(super) fn parse(value: &Value) -> ParsedPolicy {
    let mut problems = Problems::default();
    let settings = Reader::open(value, &["status", "body", "headers"], &mut problems);
    let status = settings.read("status", &mut problems, status);
    let status = status.unwrap_or(Status::OK);
    let body = settings
        .read("body", &mut problems, body)
        .unwrap_or_default();
    if !body.is_empty() && status.is_bodyless() {
        let message = format!("an answer with status {} has no body", status.as_u16());
        problems.add(Problem::new(settings.at("body"), message));
    }
    let mut fields = fields(&settings, &mut problems);
    if !body.is_empty() && fields.known(Known::ContentType).is_none() {
        // Both are constants that may stand in a head.
        let _ = fields.push("content-type", b"text/plain; charset=utf-8");
    }
    problems.none_or(|| {
        Arc::new(Spec {
            status,
            fields,
            body,
        })
    })
}

fn status(text: &str) -> Result<Status, String> {
    let code = text.parse().ok().filter(|code| (200..600).contains(code));
    code.and_then(Status::new)
        .ok_or_else(|| format!("`{text}` is not a status from 200 to 599"))
}

fn body(text: &str) -> Result<Bytes, String> {
    if text.len() > BODY_BYTES_MAX {
        return Err(format!(
            "a body of {} bytes is over the limit of {BODY_BYTES_MAX}",
            text.len()
        ));
    }
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}

fn fields(settings: &Reader<'_>, problems: &mut Problems) -> Fields {
    let given = settings.free("headers", problems);
    let mut fields = Fields::default();
    for name in given.keys() {
        for (at, value) in given.texts(name, problems) {
            let pushed = field(name, &value).and_then(|(name, value)| {
                let pushed = fields.push_checked(&name, &value);
                pushed.map_err(|bad| Problem::new("", bad.to_string()))
            });
            if let Err(problem) = pushed {
                problems.add(Problem {
                    path: at,
                    ..problem
                });
            }
        }
    }
    fields
}
