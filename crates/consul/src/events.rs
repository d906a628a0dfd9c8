//! Events: small messages that anybody may fire and everybody may list.

use std::{sync::Arc, time::Instant};

use portolan_access::Resource;
use portolan_dialects::consul::{Parameters, Refusal, answer::EventView};
use portolan_ledger::{
    Alteration, Expectation, Input, Kept, Kind, Object, Output, Query as Wanted,
};
use portolan_model::Revision;
use portolan_wire::serve::{Query, Response};
use serde::{Deserialize, Serialize};

use super::{
    Parts,
    answering::{self, indexed},
    asking,
};

/// The largest payload, and the longest name or filter.
const PAYLOAD_BYTES_MAX: usize = 512;
const TEXT_BYTES_MAX: usize = 256;

/// An event as it is kept.
#[derive(Serialize, Deserialize)]
struct Fired {
    name: Arc<str>,
    payload: Vec<u8>,
    node: Arc<str>,
    service: Arc<str>,
    tag: Arc<str>,
}

impl Fired {
    fn view(self, id: Arc<str>, ltime: u64) -> EventView {
        EventView {
            id,
            name: self.name,
            payload: self.payload,
            node_filter: self.node,
            service_filter: self.service,
            tag_filter: self.tag,
            version: 1,
            ltime,
        }
    }
}

pub(super) async fn fire(
    parts: &Parts,
    name: &str,
    (query, payload): (&Query<'_>, &[u8]),
) -> Result<Response, Refusal> {
    let filter = |name: &str| query.find(name).unwrap_or_default();
    let texts = [name, filter("node"), filter("service"), filter("tag")];
    if texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        let text = format!("names and filters have at most {TEXT_BYTES_MAX} bytes");
        return Err(Refusal::bad(text));
    }
    if payload.len() > PAYLOAD_BYTES_MAX {
        let text = format!("a payload has at most {PAYLOAD_BYTES_MAX} bytes");
        return Err(Refusal::new(413, text));
    }
    let id = parts.env.dice().uuid();
    let fired = Fired {
        name: name.into(),
        payload: payload.to_vec(),
        node: filter("node").into(),
        service: filter("service").into(),
        tag: filter("tag").into(),
    };
    let body = serde_json::to_string(&fired).map_err(|error| Refusal::failed(error.to_string()))?;
    let kept = Kept {
        body: body.into(),
        ..Kept::default()
    };
    let keep = Alteration::Keep(Kind::Event, Arc::clone(&id), kept, Expectation::Nothing);
    asking::step(parts, Input::Alter(vec![keep])).await?;
    // Its place in time is told to those who list it.
    answering::json(&fired.view(id, 0))
}

pub(super) async fn list(
    parts: &Parts,
    parameters: &Parameters,
    query: &Query<'_>,
) -> Result<Response, Refusal> {
    let name = query.find("name").filter(|name| !name.is_empty());
    let blocking = parameters.blocking;
    let until = parts.env.instant() + blocking.patience(parts.env.dice().unit_f64());
    let (mut output, mut newest) = asking::look(parts, Wanted::Objects(Kind::Event)).await?;
    loop {
        let (mut events, index) = named(output, name);
        events.retain(|event| parts.permit.shows(Resource::Event, &event.name));
        let is_news = blocking.index.is_none_or(|seen| seen != index);
        let more = if is_news {
            None
        } else {
            after(parts, newest, until).await?
        };
        let Some(more) = more else {
            let response = answering::json(&events)?;
            return Ok(indexed(response, index, parameters.consistency));
        };
        (output, newest) = more;
    }
}

/// Everything, once something was fired; none if nobody shall wait any longer.
async fn after(
    parts: &Parts,
    seen: Revision,
    until: Instant,
) -> Result<Option<(Output, Revision)>, Refusal> {
    let mut drain = parts.drain.clone();
    tokio::select! {
        biased;
        () = parts.permit.outdated(&parts.access) => Ok(None),
        found = parts.ledger.wait(Wanted::Objects(Kind::Event), seen) => {
            found.map(Some).map_err(|error| asking::failed(&error))
        }
        () = drain.draining() => Ok(None),
        () = parts.env.sleep_until(until) => Ok(None),
    }
}

/// Events of that name, the oldest first, and when the last of them was fired.
fn named(output: Output, name: Option<&str>) -> (Vec<EventView>, u64) {
    let Output::Objects(mut objects) = output else {
        return (Vec::new(), 1);
    };
    objects.sort_by_key(|(_, object)| object.created);
    let read = |(id, object): (Arc<str>, Object)| {
        let fired: Fired = serde_json::from_str(&object.body).ok()?;
        Some(fired.view(id, object.created.as_u64()))
    };
    let all = objects.into_iter().filter_map(read);
    let wanted: Vec<_> = all
        .filter(|event| name.is_none_or(|name| *event.name == *name))
        .collect();
    let index = wanted.last().map_or(1, |event| event.ltime);
    (wanted, index)
}
