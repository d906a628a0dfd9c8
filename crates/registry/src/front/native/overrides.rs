//! What operators ruled about instances: set, shown, taken back.

use http::StatusCode;
use portolan_access::Caller;
use portolan_dialects::native::{OverrideList, OverrideShape, OverrideView, Synced};
use portolan_wire::serve::{Request, Response};

use super::{
    Parts, Refusal, json,
    write::{caller, read},
};
use crate::{
    RegistryError,
    core::{RulingRecord, Subject},
};

pub(super) async fn set(
    parts: &Parts,
    subject: Subject,
    request: Request,
) -> Result<Response, Refusal> {
    let actor = Some(caller(&request).actor());
    let shape: OverrideShape = read(request).await?;
    let ruling = shape.ruling(actor.clone(), parts.env.now())?;
    let view = OverrideView::new(&subject.key, &subject.id, &ruling);
    let revision = parts.registry.rule(actor, subject, Some(ruling)).await?;
    let answer = OverrideView {
        revision: Some(revision),
        ..view
    };
    json(StatusCode::OK, &answer)
}

pub(super) async fn clear(
    parts: &Parts,
    subject: Subject,
    caller: &Caller,
) -> Result<Response, Refusal> {
    let actor = Some(caller.actor());
    let revision = parts.registry.rule(actor, subject, None).await?;
    json(StatusCode::OK, &Synced { revision })
}

pub(super) async fn show(parts: &Parts, subject: Subject) -> Result<Response, Refusal> {
    let records = parts.registry.rulings().await?;
    let found = records.binary_search_by(|record| record.subject.cmp(&subject));
    let record = found.ok().and_then(|place| records.get(place));
    let record = record.ok_or(RegistryError::NoRuling)?;
    json(StatusCode::OK, &view(record))
}

pub(super) async fn list(parts: &Parts) -> Result<Response, Refusal> {
    let records = parts.registry.rulings().await?;
    let list = OverrideList {
        overrides: records.iter().map(view).collect(),
    };
    json(StatusCode::OK, &list)
}

fn view(record: &RulingRecord) -> OverrideView {
    OverrideView::new(&record.subject.key, &record.subject.id, &record.ruling)
}
