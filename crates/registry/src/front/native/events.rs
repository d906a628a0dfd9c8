//! What happened: the journal.

use http::StatusCode;
use portolan_dialects::native::{EventList, EventView};
use portolan_model::Event;
use portolan_wire::serve::{Query, Response};

use super::{Parts, Refusal, json, query};

/// Events of one answer, if nobody asks for another number.
const EVENTS: u64 = 100;
/// Most events of one answer; those of one revision are never parted.
const EVENTS_MAX: u64 = 1000;

/// The events after a revision, or the latest.
pub(super) fn events(parts: &Parts, query: &Query<'_>) -> Result<Response, Refusal> {
    let limit = query::number(query, "limit")?.unwrap_or(EVENTS);
    if !(1..=EVENTS_MAX).contains(&limit) {
        let detail = format!("`limit` is from 1 to {EVENTS_MAX}");
        return Err(Refusal::malformed(detail));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let catalog = parts.registry.reader().catalog();
    let journal = catalog.journal();
    let after = query::revision(query, "after")?;
    let mut events = journal
        .told_since(after.unwrap_or(journal.told_from()))
        .map_err(Refusal::from)?;
    let is_cut = after.is_some() && cut(&mut events, limit);
    if after.is_none() {
        events.drain(..events.len().saturating_sub(limit));
    }
    let list = EventList {
        revision: catalog.revision(),
        events: events.iter().map(EventView::from).collect(),
        is_cut,
    };
    json(StatusCode::OK, &list)
}

/// Keeps the first events, whole revisions, so that a reader can go on after the last.
fn cut(events: &mut Vec<Event>, limit: usize) -> bool {
    let last = limit.checked_sub(1).and_then(|last| events.get(last));
    let Some(revision) = last.map(|event| event.revision) else {
        return false;
    };
    let kept = events.partition_point(|event| event.revision <= revision);
    let is_cut = kept < events.len();
    events.truncate(kept);
    is_cut
}
