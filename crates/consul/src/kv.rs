//! Keys and values: under `kv/`.

use std::sync::Arc;

use bytes::Bytes;
use http::header;
use portolan_access::{Level, Resource};
use portolan_dialects::consul::{
    KvParameters, Parameters, Refusal,
    answer::{Indexes, KvView},
};
use portolan_ledger::{Entry, Input, Mode, Output, Query, SessionId};
use portolan_model::Revision;
use portolan_wire::serve::{Response, full};
use serde::Serialize;

use super::{Parts, answering, asking};

pub(super) async fn read(
    parts: &Parts,
    key: &str,
    parameters: &Parameters,
    kv: KvParameters,
) -> Result<Response, Refusal> {
    let wants_many = kv.keys || kv.recurse;
    if key.is_empty() && !wants_many {
        return Err(Refusal::bad("Missing key name"));
    }
    if !wants_many {
        parts.permit.require(Resource::Key, key, Level::Read)?;
    }
    let query = match (kv.keys, kv.recurse) {
        (true, _) => Query::Names {
            prefix: key.into(),
            separator: kv.separator,
        },
        (false, true) => Query::Tree(key.into()),
        (false, false) => Query::Key(key.into()),
    };
    let (mut output, index) = asking::look_when_news(parts, parameters, query).await?;
    let shows = |key: &str| parts.permit.shows(Resource::Key, key);
    match &mut output {
        Output::Names(names) => names.retain(|name| shows(name)),
        Output::Entries(entries) => entries.retain(|(key, _)| shows(key)),
        Output::Entry(_) | Output::Sessions(_) | Output::Objects(_) => {}
    }
    let response = match output {
        Output::Names(names) if names.is_empty() && !key.is_empty() => missing(),
        Output::Names(names) => answering::json(&names)?,
        Output::Entry(Some(entry)) if kv.raw => raw(entry.value),
        Output::Entry(Some(entry)) => answering::json(&[view(&key.into(), &entry)])?,
        Output::Entries(entries) if !entries.is_empty() => listed(&entries)?,
        Output::Entry(None) | Output::Entries(_) | Output::Sessions(_) | Output::Objects(_) => {
            missing()
        }
    };
    Ok(answering::indexed(response, index, parameters.consistency))
}

fn missing() -> Response {
    answering::text(404, "")
}

/// The value and nothing else. What somebody stored must not become a page of ours.
fn raw(value: Bytes) -> Response {
    let mut response = Response::new(full(value));
    let headers = [
        (header::CONTENT_TYPE, "text/plain"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "sandbox"),
    ];
    for (name, value) in headers {
        answering::put(&mut response, name, value);
    }
    response
}

fn listed(entries: &[(Arc<str>, Entry)]) -> Result<Response, Refusal> {
    let views: Vec<_> = entries
        .iter()
        .map(|(key, entry)| view(key, entry))
        .collect();
    answering::json(&views)
}

/// A key as clients see it.
pub(super) fn view(key: &Arc<str>, entry: &Entry) -> impl Serialize + use<> {
    KvView {
        lock_index: entry.locks,
        key: Arc::clone(key),
        flags: entry.flags,
        value: entry.value.to_vec(),
        session: entry.session.as_ref().map(|id| id.as_str().into()),
        indexes: Indexes {
            create_index: entry.created.as_u64(),
            modify_index: entry.modified.as_u64(),
        },
    }
}

/// Writes a key; whether its condition held.
pub(super) async fn write(
    parts: &Parts,
    key: &str,
    kv: KvParameters,
    value: Bytes,
) -> Result<Response, Refusal> {
    if key.is_empty() {
        return Err(Refusal::bad("Missing key name"));
    }
    let mode = match (kv.cas, &kv.acquire, &kv.release) {
        (Some(index), _, _) => at(index),
        (None, Some(id), _) => Mode::Acquire(session(id)?),
        (None, None, Some(id)) => match SessionId::new(id) {
            Some(id) => Mode::Release(id),
            // Nobody holds a lock with an id that is none.
            None => return answering::json(&false),
        },
        (None, None, None) => Mode::Always,
    };
    let input = Input::Set {
        key: key.into(),
        value,
        flags: kv.flags,
        mode,
    };
    answering::json(&asking::done(parts, input).await?)
}

/// The key must have that index; 0 stands for none.
pub(super) fn at(index: u64) -> Mode {
    match index {
        0 => Mode::Absent,
        index => Mode::At(Revision::from_u64(index)),
    }
}

/// The session of that id.
pub(super) fn session(id: &str) -> Result<SessionId, Refusal> {
    SessionId::new(id).ok_or_else(|| Refusal::failed(format!("invalid session {id:?}")))
}

/// Deletes a key, or all that begin so.
pub(super) async fn delete(
    parts: &Parts,
    key: &str,
    kv: &KvParameters,
) -> Result<Response, Refusal> {
    if kv.recurse && kv.cas.is_some() {
        let text = "Conflicting flags: recurse and cas exclude each other";
        return Err(Refusal::bad(text));
    }
    if kv.recurse {
        parts
            .permit
            .require_tree(Resource::Key, key, Level::Write)?;
        let prefix = key.into();
        let deleted = asking::done(parts, Input::DeleteTree { prefix }).await?;
        return answering::json(&deleted);
    }
    if key.is_empty() {
        return Err(Refusal::bad("Missing key name"));
    }
    let input = Input::Delete {
        key: key.into(),
        index: kv.cas.map(Revision::from_u64),
    };
    answering::json(&asking::done(parts, input).await?)
}
