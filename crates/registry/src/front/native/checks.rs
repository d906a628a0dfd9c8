//! The checks of an instance, one by one: shown, and told by the instance itself.

use std::sync::Arc;

use http::StatusCode;
use portolan_dialects::native::{CheckList, CheckView, Heartbeat};
use portolan_model::{Health, Verdict};
use portolan_wire::serve::{Request, Response};

use super::{Parts, Refusal, json, write::read};
use crate::{
    RegistryError,
    check::{CheckState, ReportError},
    core::Subject,
};

pub(super) fn list(parts: &Parts, subject: &Subject) -> Result<Response, Refusal> {
    let catalog = parts.registry.reader().catalog();
    let service = catalog.service(&subject.key);
    let mut instances = service.into_iter().flat_map(|service| &service.instances);
    if !instances.any(|instance| instance.id == subject.id) {
        return Err(RegistryError::Unknown.into());
    }
    let states = parts.checks.of(subject);
    let list = CheckList {
        checks: states.iter().map(view).collect(),
    };
    json(StatusCode::OK, &list)
}

pub(super) fn show(parts: &Parts, subject: &Subject, id: &str) -> Result<Response, Refusal> {
    let states = parts.checks.of(subject);
    let state = states.iter().find(|state| &*state.probe.id == id);
    let state = state.ok_or(ReportError::Unknown)?;
    json(StatusCode::OK, &view(state))
}

pub(super) async fn report(
    parts: &Parts,
    subject: Subject,
    id: &str,
    request: Request,
) -> Result<Response, Refusal> {
    let heartbeat: Heartbeat = read(request).await?;
    heartbeat.check()?;
    let verdict = Verdict {
        health: heartbeat.status.unwrap_or(Health::Passing),
        note: heartbeat.note,
    };
    let reported = parts.checks.report(subject.clone(), id.into(), verdict);
    reported.await?;
    // As any other write: answered once every reader sees it.
    parts.registry.caught_up_on(&subject).await?;
    show(parts, &subject, id)
}

fn view(state: &CheckState) -> CheckView {
    CheckView {
        status: state.health,
        note: state.note.clone(),
        since: state.since,
        output: Arc::clone(&state.output),
        ..CheckView::new(&state.probe, state.is_configured)
    }
}

impl From<ReportError> for Refusal {
    fn from(error: ReportError) -> Self {
        let (status, cause) = match error {
            ReportError::Unknown => (StatusCode::NOT_FOUND, "check_not_found"),
            ReportError::NotReported => (StatusCode::CONFLICT, "check_not_reported"),
            ReportError::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "registry_stopped"),
        };
        Self::new(status, cause, error.to_string())
    }
}
