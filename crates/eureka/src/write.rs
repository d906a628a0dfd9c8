//! Registrations, heartbeats, deregistrations and what an operator says.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{StatusCode, header};
use portolan_access::{Caller, Need, Object};
use portolan_dialects::eureka::{
    Action, Format, InstanceInfo, Kept, Lease, Rejection, Sender, Status, check, describe, kept,
    read_instance, resolve, show, write_instance,
};
use portolan_model::{ByteSize, Instance, InstanceId};
use portolan_wire::serve::{Peer, Query, Request, Response, collect, empty};

use super::{
    Front, Refusal, document,
    operate::{self, Change},
    read::{find, key_of},
    text_of,
};
use portolan_registry::{
    RegistryError,
    core::{Refusal as Refused, Subject},
};

/// The largest body.
pub(super) const BODY_MAX: ByteSize = ByteSize::from_bytes(1 << 20);
/// How long a deregistration waits for the instance's requests.
const DRAIN: Duration = Duration::from_secs(2);

/// Takes a registration in.
pub(super) async fn register(
    front: &Front,
    app: &str,
    sender: Sender,
    request: Request,
) -> Result<Response, Refusal> {
    let caller = caller(&request);
    let (format, body) = body_of(request).await?;
    let info = read_instance(format, &body)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("{error}\n")))?;
    let object = Object(info.id().into());
    take_in(front, app, info, sender, &caller).await?;
    let mut response = Response::new(empty());
    response.extensions_mut().insert(object);
    // Clients take nothing else for an answer.
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// The body and what it is written in.
pub(super) async fn body_of(request: Request) -> Result<(Format, Bytes), Refusal> {
    let content_type = text_of(request.headers(), &header::CONTENT_TYPE);
    let encoding = text_of(request.headers(), &header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        let text = "compressed bodies are not taken\n";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let body = collect(request.into_body(), BODY_MAX)
        .await
        .map_err(|error| {
            let status = match &error {
                portolan_wire::serve::CollectError::TooLarge { .. } => {
                    StatusCode::PAYLOAD_TOO_LARGE
                }
                portolan_wire::serve::CollectError::Body(_) => StatusCode::BAD_REQUEST,
            };
            Refusal::new(status, format!("{error}\n"))
        })?;
    Ok((Format::of_body(content_type.as_deref(), &body), body))
}

/// Registers an instance, unless a newer word of it is known.
pub(super) async fn take_in(
    front: &Front,
    app: &str,
    mut info: InstanceInfo,
    sender: Sender,
    caller: &Caller,
) -> Result<(), Refusal> {
    check(&info, app)?;
    let now = front.parts.env.now().as_millis();
    let _turn = front.turns.take(info.id()).await;
    if info.last_dirty == 0 {
        info.last_dirty = now;
    }
    if info.overridden == Status::OutOfService {
        // What a peer was told by an operator is the operator's word here, too.
        info.overridden = Status::Unknown;
        if caller.may(&Need::Operate) {
            operate::take_out(front, subject(app, info.id())?, caller).await?;
        }
    }
    let known = own(front, app, info.id());
    let before = known.as_deref().and_then(|known| {
        let kept = kept(known)?;
        Some((kept, told(known, kept)))
    });
    let info = settle(info, before, sender, now);
    enter(front, &info, caller).await
}

/// What a registration makes of an instance, given what is known of it.
fn settle(
    info: InstanceInfo,
    before: Option<(Kept, InstanceInfo)>,
    sender: Sender,
    now: u64,
) -> InstanceInfo {
    let (kept, before) = before.unzip();
    if let Some(before) = before
        .as_ref()
        .filter(|before| before.last_dirty > info.last_dirty)
    {
        // What is known is newer than what came late; it was a sign of life all the same.
        return before.clone();
    }
    let claimed = Some(info.overridden).filter(|claimed| *claimed != Status::Unknown);
    let overridden = kept.and_then(|kept| kept.overridden).or(claimed);
    let known = kept.map(|kept| kept.status);
    let status = resolve(info.status, overridden, known, sender);
    let up_since = before.as_ref().map_or(0, |before| before.lease.up_since);
    let is_first_up = up_since == 0 && status == Status::Up;
    let fresh = InstanceInfo {
        status,
        overridden: overridden.unwrap_or(Status::Unknown),
        lease: Lease {
            registered: now,
            renewed: 0,
            evicted: 0,
            up_since: if is_first_up { now } else { up_since },
            ..info.lease
        },
        last_updated: now,
        action: Some(Action::Added),
        ..info
    };
    match before {
        // Whoever repeats himself changes nothing, so nobody has to be told.
        Some(before) if is_repeated(&before, &fresh) => before,
        Some(_) | None => fresh,
    }
}

fn is_repeated(before: &InstanceInfo, fresh: &InstanceInfo) -> bool {
    let timeless = InstanceInfo {
        lease: Lease {
            registered: before.lease.registered,
            renewed: before.lease.renewed,
            ..fresh.lease
        },
        last_updated: before.last_updated,
        ..fresh.clone()
    };
    *before == timeless
}

/// An instance as it told itself, whatever an operator or a drain makes of it.
pub(super) fn told(instance: &Instance, kept: Kept) -> InstanceInfo {
    InstanceInfo {
        status: kept.status,
        overridden: kept.overridden.unwrap_or(Status::Unknown),
        last_updated: kept.last_updated,
        ..show(instance)
    }
}

/// Registers an instance as it is; a lease out of bounds gets the nearest.
pub(super) async fn enter(
    front: &Front,
    info: &InstanceInfo,
    caller: &Caller,
) -> Result<(), Refusal> {
    let registry = &front.parts.registry;
    let mut described = describe(info, registry.source())?;
    let entered = registry
        .register(Some(caller.actor()), described.clone())
        .await;
    let Err(RegistryError::Refused(Refused::Ttl { min, max })) = entered else {
        return Ok(entered.map(|_| ())?);
    };
    described.ttl = described.ttl.map(|ttl| ttl.clamp(min, max));
    Ok(registry
        .register(Some(caller.actor()), described)
        .await
        .map(|_| ())?)
}

/// What a heartbeat says besides.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beat {
    pub(super) last_dirty: Option<u64>,
    /// The override that a peer knows of.
    pub(super) overridden: Option<Status>,
}

impl Beat {
    pub(super) fn read(query: &Query<'_>) -> Result<Self, Refusal> {
        let last_dirty = query.find("lastDirtyTimestamp").map(str::parse).transpose();
        let last_dirty = last_dirty.map_err(|_| {
            let text = "lastDirtyTimestamp is not a number\n";
            Refusal::new(StatusCode::BAD_REQUEST, text)
        })?;
        Ok(Self {
            last_dirty,
            overridden: query.find("overriddenstatus").and_then(Status::parse),
        })
    }
}

/// What a heartbeat led to.
pub(super) enum Beaten {
    /// It was heard.
    Heard,
    /// It was heard, and what we know of the instance is newer than what the peer does.
    Newer(Box<InstanceInfo>),
}

impl Beaten {
    pub(super) fn into_response(self, format: Format) -> Response {
        match self {
            Self::Heard => Response::new(empty()),
            Self::Newer(info) => {
                let mut response = document(format, write_instance(format, &info));
                *response.status_mut() = StatusCode::CONFLICT;
                response
            }
        }
    }
}

/// A sign of life. An instance that is not known, or knows something newer of itself, is
/// sent to register.
pub(super) async fn heartbeat(
    front: &Front,
    (app, id): (&str, &str),
    beat: Beat,
    sender: Sender,
    caller: &Caller,
) -> Result<Beaten, Refusal> {
    let subject = subject(app, id)?;
    let known = own(front, app, id);
    let kept = known.as_deref().and_then(kept);
    if kept.is_some_and(|kept| kept.status == Status::Unknown) {
        return Err(Refusal::not_found());
    }
    let registry = &front.parts.registry;
    if registry.hear(&subject, None).is_none() {
        registry.renew(Some(caller.actor()), subject, None).await?;
    }
    let (Some(known), Some(kept), Some(theirs)) = (known, kept, beat.last_dirty) else {
        return Ok(Beaten::Heard);
    };
    let ours = told(&known, kept);
    if theirs > ours.last_dirty {
        if let (Sender::Peer, Some(word)) = (sender, beat.overridden)
            && word != Status::Unknown
            && kept.overridden != Some(word)
            && caller.may(&Need::Operate)
        {
            let change = Change::Remember(word);
            operate::change(front, app, id, change, caller).await?;
        }
        return Err(Refusal::not_found());
    }
    if theirs < ours.last_dirty && sender == Sender::Peer {
        return Ok(Beaten::Newer(Box::new(show(&known))));
    }
    Ok(Beaten::Heard)
}

/// Removes an instance once its requests have ended, after a short while at the latest.
pub(super) async fn cancel(
    front: &Front,
    app: &str,
    id: &str,
    caller: &Caller,
) -> Result<(), Refusal> {
    let subject = subject(app, id)?;
    let registry = &front.parts.registry;
    let known = own(front, app, id);
    registry
        .deregister(Some(caller.actor()), subject, Some(DRAIN))
        .await?;
    operate::forget(front, known.as_deref(), caller).await
}

/// An instance of the registry's own, as it is published.
pub(super) fn own(front: &Front, app: &str, id: &str) -> Option<Arc<Instance>> {
    let registry = &front.parts.registry;
    let found = find(&registry.reader().catalog(), app, id)?;
    (found.source == *registry.source()).then_some(found)
}

pub(super) fn subject(app: &str, id: &str) -> Result<Subject, Refusal> {
    Ok(Subject {
        key: key_of(app).ok_or_else(Refusal::not_found)?,
        id: InstanceId::parse(id).map_err(|_| Refusal::not_found())?,
    })
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        // Without a line end: clients show the text as it is.
        Self::new(StatusCode::BAD_REQUEST, rejection.to_string())
    }
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
