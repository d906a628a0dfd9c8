//! The guard: whom it keeps and why, and the one call that resolves holds.

use std::sync::Arc;

use http::StatusCode;
use portolan_catalog::{
    Absence, Cause, FlapStatus, GuardReport, GuardSettings, HoldStatus, Keeping, Resolution, Scope,
    Selector, Word,
};
use portolan_dialects::native::{
    FlapView, GuardSettingsView, GuardView, HoldView, ResolveAction, ResolveShape, Resolved, Span,
};
use portolan_model::{SourceId, Timestamp};
use portolan_wire::serve::{Request, Response};

use super::{
    Parts, Refusal, json,
    write::{caller, read},
};

pub(super) fn show(parts: &Parts) -> Result<Response, Refusal> {
    let catalog = parts.registry.reader().catalog();
    let GuardReport {
        settings,
        holds,
        flaps,
        ..
    } = catalog.guard();
    let now = parts.env.now();
    let view = GuardView {
        settings: settings_view(settings),
        holds: holds.iter().map(hold).collect(),
        flaps: flaps.iter().map(|status| flap(status, now)).collect(),
    };
    json(StatusCode::OK, &view)
}

pub(super) async fn resolve(parts: &Parts, request: Request) -> Result<Response, Refusal> {
    let actor = Some(caller(&request).actor());
    let shape: ResolveShape = read(request).await?;
    let selector = Selector {
        service: shape.key()?,
        id: shape.id,
        zone: shape.zone,
        source: shape.source.as_deref().map(SourceId::new),
    };
    let catalog = parts.registry.reader().catalog();
    let holds = catalog.guard().holds.iter();
    let resolved = holds.filter(|hold| selector.matches(hold)).count();
    if resolved == 0 {
        let detail = "the guard keeps nobody whom this means; `GET /v1/guard` lists all holds";
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "hold_not_found",
            detail,
        ));
    }
    let word = match shape.action {
        ResolveAction::Release => Word::Release,
        ResolveAction::Keep => Word::Keep,
    };
    let resolution = Resolution { selector, word };
    let revision = parts.registry.resolve(actor, resolution).await?;
    json(StatusCode::OK, &Resolved { revision, resolved })
}

fn settings_view(settings: &GuardSettings) -> GuardSettingsView {
    GuardSettingsView {
        share: settings.share_percent,
        hold: Span(settings.hold),
        evidence: Span(settings.evidence),
        half_life: Span(settings.half_life),
    }
}

fn hold(status: &HoldStatus) -> HoldView {
    let Cause {
        scope,
        gone,
        expected,
    } = &status.cause;
    let counted = (*expected > 0).then_some((*gone, *expected));
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    HoldView {
        service: status.key.name.as_str().into(),
        namespace: status.key.namespace.as_str().into(),
        id: status.id.as_str().into(),
        zone: status.zone.clone(),
        source: status.source.as_str().into(),
        keeping: keeping(status.keeping).into(),
        absence: absence(status.absence).into(),
        scope: scope.as_str().into(),
        gone: counted.map(|(gone, _)| gone),
        expected: counted.map(|(_, expected)| expected),
        cause: sentence(status),
        since: status.since.to_string(),
        until: time(status.until),
        answered_at: time(status.traces.answered),
        refused_at: time(status.traces.refused),
    }
}

const fn keeping(keeping: Keeping) -> &'static str {
    match keeping {
        Keeping::Suspect => "suspect",
        Keeping::Told => "told",
        Keeping::Vouched => "vouched",
    }
}

const fn absence(absence: Absence) -> &'static str {
    match absence {
        Absence::Silent => "silent",
        Absence::Unlisted => "unlisted",
    }
}

fn sentence(status: &HoldStatus) -> String {
    let Cause {
        scope,
        gone,
        expected,
    } = &status.cause;
    let whose = match scope {
        Scope::Service => format!(
            "what `{}` says about service `{}`",
            status.source, status.key
        ),
        Scope::Zone(zone) => format!("zone `{zone}`"),
        Scope::Source => format!("all that `{}` says", status.source),
        Scope::All => "the whole catalogue".to_owned(),
        Scope::Predecessor => return "the process before this one held it".to_owned(),
        Scope::Evidence => return "its source is silent about it, but it is there".to_owned(),
    };
    if gone >= expected {
        return format!("it would be the last to go of {whose}");
    }
    format!("it would be number {gone} of {expected} to go of {whose}")
}

fn flap(status: &FlapStatus, now: Timestamp) -> FlapView {
    let score = status.score_at(now);
    FlapView {
        service: status.key.name.as_str().into(),
        namespace: status.key.namespace.as_str().into(),
        id: Arc::from(status.id.as_str()),
        // Nobody needs more digits, and they would change with every read.
        score: (score * 100.0).round() / 100.0,
        is_damped: status.is_damped,
        until: status.until.to_string(),
    }
}
