//! What an operator says of instances, and what else others change of them.
//!
//! Out of service is a ruling of the registry: it holds for instances of any protocol and
//! source, and outlives registrations and restarts. The other words, which only Eureka
//! has, are kept with the instance that registered by this protocol.

use std::{collections::BTreeMap, sync::Arc};

use http::StatusCode;
use portolan_access::Caller;
use portolan_dialects::{
    eureka::{InstanceInfo, Kept, RESERVED, Status, kept},
    native::Patch,
};
use portolan_model::{Instance, Override, Ruling};
use portolan_wire::serve::{Query, decode};

use super::{
    Front, Refusal,
    read::find,
    write::{Beat, enter, subject, told},
};
use portolan_registry::{RegistryError, core::Subject};

/// The reason of rulings that came by this protocol, which a deregistration takes back.
const REASON: &str = "status override over Eureka";

/// What somebody else than the instance changes of it.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// An override is in force, since that change of the instance if it is told.
    Overrule(Status, Option<u64>),
    /// The override is over, and this is the status until the instance registers.
    Release(Status, Option<u64>),
    /// An override is remembered for the next registration.
    Remember(Status),
    /// Labels are there in addition.
    Label(BTreeMap<Arc<str>, Arc<str>>),
}

impl Change {
    pub(super) fn overrule(query: &Query<'_>) -> Result<Self, Refusal> {
        let status = query.find("value").and_then(Status::parse);
        let status = status.ok_or_else(bad_status)?;
        Ok(Self::Overrule(status, Beat::read(query)?.last_dirty))
    }

    pub(super) fn release(query: &Query<'_>) -> Result<Self, Refusal> {
        let status = match query.find("value") {
            Some(word) => Status::parse(word).ok_or_else(bad_status)?,
            None => Status::Unknown,
        };
        Ok(Self::Release(status, Beat::read(query)?.last_dirty))
    }

    /// The labels are the parameters of a query.
    pub(super) fn label(query: &str) -> Result<Self, Refusal> {
        let mut labels = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            labels.entry(plain(key)?).or_insert(plain(value)?);
        }
        // What only the protocol itself may say.
        labels.retain(|key, _| !key.starts_with(RESERVED));
        Ok(Self::Label(labels))
    }

    /// What becomes of an instance that registered by this protocol.
    fn apply(self, info: &mut InstanceInfo, now: u64) {
        match self {
            // The ruling hides it; underneath it is fine, until it says otherwise itself.
            Self::Overrule(Status::OutOfService, last_dirty) => {
                info.overridden = Status::Unknown;
                set_status(info, Status::Up, last_dirty, now);
            }
            Self::Overrule(status, last_dirty) => {
                info.overridden = status;
                set_status(info, status, last_dirty, now);
            }
            Self::Release(status, last_dirty) => {
                info.overridden = Status::Unknown;
                set_status(info, status, last_dirty, now);
            }
            Self::Remember(Status::OutOfService) => info.overridden = Status::Unknown,
            Self::Remember(status) => info.overridden = status,
            Self::Label(labels) => {
                info.metadata.extend(labels);
                info.last_updated = now;
            }
        }
    }
}

fn plain(text: &str) -> Result<Arc<str>, Refusal> {
    let text = text.replace('+', " ");
    let decoded = decode(&text).map(|text| Arc::<str>::from(&*text));
    decoded.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("{error}\n")))
}

fn bad_status() -> Refusal {
    // What Eureka answers; its clients know no other failure here.
    let text = "value is not a status\n";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text)
}

fn set_status(info: &mut InstanceInfo, status: Status, last_dirty: Option<u64>, now: u64) {
    info.status = status;
    info.last_updated = now;
    info.last_dirty = info.last_dirty.max(last_dirty.unwrap_or(0));
    if status == Status::Up && info.lease.up_since == 0 {
        info.lease.up_since = now;
    }
}

/// Changes an instance on behalf of somebody else; it renews the lease, too.
pub(super) async fn change(
    front: &Front,
    app: &str,
    id: &str,
    change: Change,
    caller: &Caller,
) -> Result<(), Refusal> {
    let _turn = front.turns.take(id).await;
    let catalog = front.parts.registry.reader().catalog();
    let found = find(&catalog, app, id).ok_or_else(Refusal::not_found)?;
    let is_own = found.source == *front.parts.registry.source();
    let kept = kept(&found).filter(|_| is_own);
    let is_ruled = found.state.overridden != Override::None;
    let takes_out = matches!(
        change,
        Change::Overrule(Status::OutOfService, _) | Change::Remember(Status::OutOfService)
    );
    let lets_in = matches!(change, Change::Overrule(..) | Change::Release(..)) && !takes_out;
    let had_any = is_ruled || kept.is_some_and(|kept| kept.overridden.is_some());
    if matches!(change, Change::Release(..)) && !had_any {
        return Ok(());
    }
    if takes_out {
        // First, so that it is never open in between.
        take_out(front, subject(app, id)?, caller).await?;
    }
    match kept {
        Some(kept) => rewrite(front, &found, kept, change, caller).await?,
        None => change_foreign(front, &found, change, caller).await?,
    }
    if lets_in && is_ruled {
        let_in(front, &found, caller).await?;
    }
    Ok(())
}

/// Registers an instance of this protocol as the change makes it.
async fn rewrite(
    front: &Front,
    found: &Instance,
    kept: Kept,
    change: Change,
    caller: &Caller,
) -> Result<(), Refusal> {
    let mut info = told(found, kept);
    change.apply(&mut info, front.parts.env.now().as_millis());
    enter(front, &info, caller).await
}

/// Of an instance that did not register by this protocol, labels can be changed if it is
/// ours, and an operator's ruling can be made and taken back.
async fn change_foreign(
    front: &Front,
    found: &Instance,
    change: Change,
    caller: &Caller,
) -> Result<(), Refusal> {
    let registry = &front.parts.registry;
    match change {
        Change::Overrule(Status::Up | Status::OutOfService, _)
        | Change::Release(..)
        | Change::Remember(_) => Ok(()),
        Change::Label(labels) if found.source == *registry.source() => {
            let labels = labels.into_iter();
            let patch = Patch {
                metadata: labels.map(|(key, value)| (key, Some(value))).collect(),
                ..Patch::default()
            };
            let actor = Some(caller.actor());
            let patched = registry.patch(actor, Subject::of(found), patch).await;
            Ok(patched.map(|_| ())?)
        }
        Change::Overrule(Status::Down | Status::Starting | Status::Unknown, _)
        | Change::Label(_) => {
            let text =
                "the instance did not register by Eureka's protocol; change it where it did\n";
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text))
        }
    }
}

/// Rules that an instance, which need not be there yet, is out of service.
pub(super) async fn take_out(
    front: &Front,
    subject: Subject,
    caller: &Caller,
) -> Result<(), Refusal> {
    let catalog = front.parts.registry.reader().catalog();
    let found = find(&catalog, subject.key.name.as_str(), subject.id.as_str());
    let before = found.and_then(|found| found.state.ruling.clone());
    let is_out = |ruling: &Arc<Ruling>| ruling.traffic != Override::None;
    if before.as_ref().is_some_and(is_out) {
        return Ok(());
    }
    let ruling = Ruling {
        traffic: Override::Maintenance,
        weight: before.and_then(|ruling| ruling.weight),
        reason: Some(REASON.into()),
        actor: Some(caller.actor()),
        at: front.parts.env.now(),
    };
    let registry = &front.parts.registry;
    let ruled = registry.rule(Some(caller.actor()), subject, Some(ruling));
    Ok(ruled.await.map(|_| ())?)
}

/// Takes the ruling about an instance's traffic back; its weight stays.
async fn let_in(front: &Front, found: &Instance, caller: &Caller) -> Result<(), Refusal> {
    let weight = found
        .state
        .ruling
        .as_ref()
        .filter(|ruling| ruling.weight.is_some());
    let rest = weight.map(|ruling| Ruling {
        traffic: Override::None,
        ..(**ruling).clone()
    });
    let registry = &front.parts.registry;
    let ruled = registry.rule(Some(caller.actor()), Subject::of(found), rest);
    match ruled.await {
        Ok(_) | Err(RegistryError::NoRuling) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// An override goes with the instance, if it came by this protocol.
pub(super) async fn forget(
    front: &Front,
    found: Option<&Instance>,
    caller: &Caller,
) -> Result<(), Refusal> {
    let ruling = found.and_then(|found| found.state.ruling.as_ref());
    match (found, ruling) {
        (Some(found), Some(ruling)) if ruling.reason.as_deref() == Some(REASON) => {
            let_in(front, found, caller).await
        }
        _ => Ok(()),
    }
}
