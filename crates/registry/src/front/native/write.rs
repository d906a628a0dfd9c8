//! Registrations, heartbeats, deregistrations.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use portolan_access::{Caller, Need, Object};
use portolan_dialects::native::{
    Heartbeat, Heartbeats, Patch, Registration, Removed, Renewed, Span, Which, Written,
};
use portolan_model::{ByteSize, InstanceId, ServiceKey};
use portolan_wire::serve::{CollectError, Peer, Query, Request, Response, collect};
use serde::de::DeserializeOwned;

use super::{Parts, Refusal, json, query, written_json};
use crate::{
    Kept,
    core::{Report, Subject},
};

/// The largest body of a registration.
const BODY_MAX: ByteSize = ByteSize::from_bytes(256 << 10);
/// Most instances of one request that give a sign of life.
const HEARTBEATS_MAX: usize = 1_000;
/// The longest drain that can be asked for.
const DRAIN_MAX: Duration = Duration::from_hours(1);

pub(super) async fn register(
    parts: &Parts,
    key: ServiceKey,
    id: Option<InstanceId>,
    request: Request,
) -> Result<Response, Refusal> {
    let caller = caller(&request);
    let registration: Registration = read(request).await?;
    let source = parts.registry.source();
    let described = registration.describe(key.clone(), id, caller.address, source)?;
    let id = described.instance.id.clone();
    let kept = parts
        .registry
        .register(Some(caller.actor()), described)
        .await?;
    let status = if kept.is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut response = written_json(status, &written(parts, &key, &id, kept));
    response.extensions_mut().insert(Object(id.as_str().into()));
    Ok(response)
}

pub(super) async fn heartbeat(
    parts: &Parts,
    subject: Subject,
    request: Request,
) -> Result<Response, Refusal> {
    let caller = caller(&request);
    let heartbeat: Heartbeat = read(request).await?;
    heartbeat.check()?;
    let report = match (heartbeat.status, heartbeat.note) {
        (None, None) => None,
        (health, note) => Some(Report { health, note }),
    };
    let kept = if let Some(kept) = parts.registry.hear(&subject, report.as_ref()) {
        kept
    } else {
        let actor = Some(caller.actor());
        let registry = &parts.registry;
        registry.renew(actor, subject.clone(), report).await?
    };
    let written = written(parts, &subject.key, &subject.id, kept);
    Ok(written_json(StatusCode::OK, &written))
}

/// A sign of life of many instances: one request for whoever keeps many.
pub(super) async fn heartbeats(parts: &Parts, request: Request) -> Result<Response, Refusal> {
    let caller = caller(&request);
    let Heartbeats { instances } = read(request).await?;
    if instances.len() > HEARTBEATS_MAX {
        let detail = format!("/instances: at most {HEARTBEATS_MAX} at a time");
        return Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "field_invalid",
            detail,
        ));
    }
    let subjects: Vec<_> = instances.into_iter().map(subject_of).collect();
    let is_allowed = |subject: &Subject| caller.may(&Need::Register(subject.key.clone()));
    if !caller.grant.is_open()
        && let Some(subject) = subjects.iter().find(|subject| !is_allowed(subject))
    {
        let detail = format!(
            "`{}` lacks scope `register:{}`",
            caller.actor(),
            subject.key
        );
        return Err(Refusal::new(StatusCode::FORBIDDEN, "scope_missing", detail));
    }
    let asked = subjects.len();
    let missing = parts.registry.renew_all(subjects).await?;
    let renewed = Renewed {
        revision: parts.registry.reader().revision(),
        renewed: asked - missing.len(),
        missing: missing
            .into_iter()
            .map(|subject| Which::new(subject.key, subject.id))
            .collect(),
    };
    json(StatusCode::OK, &renewed)
}

pub(super) async fn patch(
    parts: &Parts,
    subject: Subject,
    request: Request,
) -> Result<Response, Refusal> {
    let caller = caller(&request);
    let patch: Patch = read(request).await?;
    let kept = parts
        .registry
        .patch(Some(caller.actor()), subject.clone(), patch)
        .await?;
    let written = written(parts, &subject.key, &subject.id, kept);
    Ok(written_json(StatusCode::OK, &written))
}

fn subject_of(which: Which) -> Subject {
    let (key, id) = which.into_parts();
    Subject { key, id }
}

pub(super) async fn deregister(
    parts: &Parts,
    subject: Subject,
    query: &Query<'_>,
    caller: &Caller,
) -> Result<Response, Refusal> {
    let drain = query::span(query, "drain", DRAIN_MAX)?;
    let drain = drain.filter(|drain| !drain.is_zero());
    let left = parts
        .registry
        .deregister(Some(caller.actor()), subject, drain)
        .await?;
    let removed = Removed {
        revision: left.revision,
        drain: left.drain,
    };
    json(StatusCode::OK, &removed)
}

fn written(parts: &Parts, key: &ServiceKey, id: &InstanceId, kept: Kept) -> Written {
    let written = Written::new(kept.revision, key, id.as_str(), Span(kept.ttl));
    Written {
        url: (parts.links)(key),
        ..written
    }
}

/// Reads a JSON body whatever its type is called: curl calls it a form. No body is `{}`.
pub(super) async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Refusal> {
    let collected = collect(request.into_body(), BODY_MAX).await;
    let body: Bytes = collected.map_err(|error| match error {
        CollectError::TooLarge { .. } => Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            error.to_string(),
        ),
        CollectError::Body(error) => Refusal::malformed(error.to_string()),
    })?;
    let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
    serde_json::from_slice(text)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "json_invalid", error.to_string()))
}

/// Who calls, as the gate found out; where there is none, whoever is at the other end.
pub(super) fn caller(request: &Request) -> Caller {
    let extensions = request.extensions();
    if let Some(caller) = extensions.get::<Caller>() {
        return caller.clone();
    }
    let peer = extensions.get::<Peer>();
    peer.map_or_else(Caller::default, |peer| Caller::unnamed(peer.address.ip()))
}
