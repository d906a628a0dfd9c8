//! Events: small messages that anybody may fire and everybody may list.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use portolan_access::Resource;
use portolan_dialects::consul::{Parameters, Refusal, answer::EventView};
use portolan_runtime::{Dice, Env};
use portolan_wire::serve::{Query, Response};
use tokio::sync::watch;

use super::{
    Parts,
    answering::{self, indexed},
};

/// Most events that are remembered.
const EVENTS_MAX: usize = 256;
/// The largest payload, and the longest name or filter.
const PAYLOAD_BYTES_MAX: usize = 512;
const TEXT_BYTES_MAX: usize = 256;

pub(super) struct Events {
    /// Guards the list; held for no await.
    list: Mutex<List>,
    /// The index of the last event.
    index: watch::Sender<u64>,
}

struct List {
    events: VecDeque<(EventView, u64)>,
    ltime: u64,
    dice: Dice,
}

impl Events {
    pub(super) fn new(env: &Env) -> Self {
        let list = List {
            events: VecDeque::new(),
            ltime: 1,
            dice: env.dice(),
        };
        Self {
            list: Mutex::new(list),
            index: watch::Sender::new(1),
        }
    }

    /// `now` is the catalogue's revision, so that indexes rise over restarts.
    pub(super) fn fire(
        &self,
        name: &str,
        (query, payload): (&Query<'_>, &[u8]),
        now: u64,
    ) -> Result<EventView, Refusal> {
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
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.ltime = list.ltime.saturating_add(1);
        let event = EventView {
            id: super::uuid(&mut list.dice),
            name: name.into(),
            payload: payload.to_vec(),
            node_filter: filter("node").into(),
            service_filter: filter("service").into(),
            tag_filter: filter("tag").into(),
            version: 1,
            ltime: list.ltime,
        };
        let index = now.max(self.index.borrow().saturating_add(1));
        list.events.push_back((event.clone(), index));
        if list.events.len() > EVENTS_MAX {
            list.events.pop_front();
        }
        drop(list);
        self.index.send_replace(index);
        Ok(event)
    }

    fn named(&self, name: Option<&str>) -> (Vec<EventView>, u64) {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let all = list.events.iter();
        let wanted: Vec<_> = all
            .filter(|(event, _)| name.is_none_or(|name| *event.name == *name))
            .collect();
        let index = wanted.last().map_or(1, |(_, index)| *index);
        (
            wanted.into_iter().map(|(event, _)| event.clone()).collect(),
            index,
        )
    }
}

pub(super) async fn list(
    parts: &Parts,
    parameters: &Parameters,
    query: &Query<'_>,
) -> Result<Response, Refusal> {
    let name = query.find("name").filter(|name| !name.is_empty());
    let blocking = parameters.blocking;
    let until = parts.env.instant() + blocking.patience(parts.env.dice().unit_f64());
    let mut changes = parts.events.index.subscribe();
    let mut drain = parts.drain.clone();
    loop {
        let (mut events, index) = parts.events.named(name);
        events.retain(|event| parts.permit.shows(Resource::Event, &event.name));
        let is_news = blocking.index.is_none_or(|seen| seen != index);
        let is_over = parts.env.instant() >= until || drain.is_draining();
        if is_news || is_over {
            let response = answering::json(&events)?;
            return Ok(indexed(response, index, parameters.consistency));
        }
        tokio::select! {
            // It ends with the front.
            _ = changes.changed() => {}
            () = drain.draining() => {}
            () = parts.env.sleep_until(until) => {}
        }
    }
}
