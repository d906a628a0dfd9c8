//! What happened: the journal.

use http::StatusCode;
use portolan_catalog::{Gap, Journal, Past};
use portolan_dialects::native::{EventList, EventView, GapView};
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
    let mut past = None;
    let mut events = match after {
        Some(after) if after < journal.oldest() => {
            past = parts.registry.past(journal.oldest()).await;
            journal.told_since(after, past.as_deref())?
        }
        Some(after) => journal.since(after)?,
        None => {
            let events = journal.since(journal.oldest())?;
            if events.len() < limit {
                past = parts.registry.past(journal.oldest()).await;
            }
            latest(journal, past.as_deref()).unwrap_or(events)
        }
    };
    let is_cut = after.is_some() && cut(&mut events, limit);
    if after.is_none() {
        events.drain(..events.len().saturating_sub(limit));
    }
    let from = after.or(events.first().map(|event| event.revision));
    let until = events.last().filter(|_| is_cut).map(|event| event.revision);
    let until = until.unwrap_or(catalog.revision());
    let gaps = past
        .zip(from)
        .map(|(past, from)| past.gaps_between(from, until));
    let view = |Gap { after, until }| GapView { after, until };
    let list = EventList {
        revision: catalog.revision(),
        events: events.iter().map(EventView::from).collect(),
        is_cut,
        gaps: gaps.into_iter().flatten().map(view).collect(),
    };
    json(StatusCode::OK, &list)
}

/// All events that are known; none if nothing was stored, or if the two don't meet.
fn latest(journal: &Journal, past: Option<&Past>) -> Option<Vec<Event>> {
    let from = past?.told_from().min(journal.oldest());
    journal.told_since(from, past).ok()
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
