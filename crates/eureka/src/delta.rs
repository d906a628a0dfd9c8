//! What changed lately, cut from one catalogue.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use portolan_catalog::{Catalog, Service};
use portolan_dialects::eureka::Action;
use portolan_model::{Instance, InstanceId, Revision, ServiceKey, Timestamp};

use super::read::is_served;

/// How far back a delta goes. Clients ask every 30 s; what they see twice does no harm.
pub(super) const WINDOW: Duration = Duration::from_mins(3);

/// An instance and what happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Touched {
    pub(super) instance: Arc<Instance>,
    pub(super) action: Action,
}

/// The revision after which a delta tells everything. If the journal does not reach back
/// far enough, it is the oldest known: a client that was away for longer sees by the hash
/// that it misses something, and reads everything.
pub(super) fn since(catalog: &Catalog, now: Timestamp) -> Revision {
    let journal = catalog.journal();
    let window = u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX);
    let from = Timestamp::from_millis(now.as_millis().saturating_sub(window));
    let known = journal.revision_at(from);
    // What processes before this one did, their clients have seen by the hash.
    known.map_or(journal.oldest(), |known| known.max(journal.oldest()))
}

/// Every instance that was touched after a revision, as it is now, by service and id. One
/// that came and went meanwhile is told as gone, because somebody may have seen it, and one
/// that came and changed meanwhile as changed: some clients pass over an addition of what
/// they know, and all of them add what is changed and that they do not know.
pub(super) fn touched(catalog: &Catalog, after: Revision) -> Vec<Touched> {
    let Ok(steps) = catalog.journal().touched_since(after) else {
        return Vec::new();
    };
    let mut found: BTreeMap<(&ServiceKey, &InstanceId), Trace<'_>> = BTreeMap::new();
    for step in steps.iter().filter(|step| is_served(step.key)) {
        let was_there = step.instance.is_some();
        found
            .entry((step.key, step.id))
            .and_modify(|trace| trace.was_there = true)
            .or_insert(Trace {
                was_there,
                last: None,
            })
            .see(step.instance);
    }
    let told = found.into_iter().filter_map(|((key, id), trace)| {
        let today = catalog.service(key).and_then(|service| find(service, id));
        let (instance, action) = match (today, trace.last) {
            (Some(today), _) if trace.was_there => (today, Action::Modified),
            (Some(today), _) => (today, Action::Added),
            (None, Some(last)) => (last, Action::Deleted),
            (None, None) => return None,
        };
        let instance = Arc::clone(instance);
        Some(Touched { instance, action })
    });
    told.collect()
}

struct Trace<'j> {
    /// Somebody may know it from before its last step.
    was_there: bool,
    /// What it was when it was last seen before a step.
    last: Option<&'j Arc<Instance>>,
}

impl<'j> Trace<'j> {
    fn see(&mut self, before: Option<&'j Arc<Instance>>) {
        self.last = before.or(self.last);
    }
}

/// The instance of that id.
pub(super) fn find<'s>(service: &'s Service, id: &InstanceId) -> Option<&'s Arc<Instance>> {
    let instances = &service.instances;
    let place = instances.binary_search_by(|instance| instance.id.cmp(id));
    instances.get(place.ok()?)
}
