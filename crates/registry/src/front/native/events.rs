//! What happened: the journal.

use http::StatusCode;
use portolan_catalog::Journal;
use portolan_dialects::native::{EventList, EventView};
use portolan_model::Event;
use portolan_wire::serve::{Query, Response};

use super::{Parts, Refusal, json, query};

/// Events of one answer, if nobody asks for another number.
const EVENTS: u64 = 100;
/// Most events of one answer; those of one revision are never parted.
const EVENTS_MAX: u64 = 1000;

/// The events after a revision, or the latest.
pub(super) async fn events(parts: &Parts, query: &Query<'_>) -> Result<Response, Refusal> {
    let limit = query::number(query, "limit")?.unwrap_or(EVENTS);
    if !(1..=EVENTS_MAX).contains(&limit) {
        let detail = format!("`limit` is from 1 to {EVENTS_MAX}");
        return Err(Refusal::malformed(detail));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let catalog = parts.registry.reader().catalog();
    let journal = catalog.journal();
    let after = query::revision(query, "after")?;
    let mut events = match after {
        Some(after) if after < journal.oldest() => {
            let past = parts.registry.past(journal.oldest()).await;
            journal.told_since(after, past.as_deref())?
        }
        Some(after) => journal.since(after)?,
        None => latest(parts, journal, limit).await?,
    };
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

/// At least so many of the latest events, if there are so many.
async fn latest(parts: &Parts, journal: &Journal, limit: usize) -> Result<Vec<Event>, Refusal> {
    let events = journal.since(journal.oldest())?;
    if events.len() >= limit {
        return Ok(events);
    }
    let Some(past) = parts.registry.past(journal.oldest()).await else {
        return Ok(events);
    };
    let from = past.told_from().min(journal.oldest());
    // Nothing more is known if the two don't meet.
    Ok(journal.told_since(from, Some(&past)).unwrap_or(events))
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
