//! The fold: what sources say, one after the other, becomes the catalogue.
//!
//! A pure engine: it takes words and the time and hands out what changed. A source
//! speaks only of its own instances. Where several claim the same one, the source
//! first in the order of precedence wins whole, and the conflict is listed. The guard
//! may hold what would go by inference; the axes `guard` and `stale` of an
//! instance's state belong to the fold and rulings to operators, whatever the source
//! wrote there.
//!
//! Invariant: a catalogue that was handed out never changes.

mod bequest;
mod books;
mod flaps;
mod holds;
mod passes;
mod remembered;
mod reset;
mod resolve;
mod roll;
mod rulings;
mod share;
#[cfg(test)]
mod tests;
mod verdicts;
mod words;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use portolan_model::{
    Change, Departure, Event, Instance, Origin, Revision, RevisionClock, ServiceKey, SourceId,
    Timestamp,
};

pub use self::{
    bequest::Bequest,
    resolve::{Resolution, Seen, Word},
    rulings::Ruled,
    verdicts::Judgement,
};
use self::{
    holds::Watch,
    rulings::Rulings,
    share::{Claims, Holder},
    verdicts::Verdicts,
};
use crate::{
    Catalog, GuardSettings, Service,
    journal::{Entry, Undo},
};

/// Most services that are remembered after their last instance left.
const EMPTY_SERVICES_MAX: usize = 10_000;
/// How long such a service is known, so that it answers "no instance" and not "unknown".
const EMPTY_SERVICE_KEPT: std::time::Duration = std::time::Duration::from_hours(1);
/// The actor of events that the guard caused.
const GUARD_ACTOR: &str = "guard";
/// The actor of events that a changed configuration caused.
const CONFIGURATION_ACTOR: &str = "configuration";

/// Something said to the fold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saying {
    /// Who says it.
    pub source: SourceId,
    /// On whose behalf, where known.
    pub actor: Option<Arc<str>>,
    /// What is said.
    pub news: News,
}

/// What is said: by the source, or by the configuration about the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A word of the source contract.
    Said(Change),
    /// The source has new settings. What its next `Reset` does not name goes at once.
    Replaced,
    /// The source left the configuration: all that it said goes at once.
    Closed,
    /// The prober found something about an instance of another source than the registry.
    Judged(Judgement),
    /// An operator ruled about an instance of any source.
    Ruled(Ruled),
    /// A predecessor of this process knew more about the source than its words say.
    Bequeathed(Bequest),
    /// What the source said to a process before this one; it has not said anything to this
    /// one yet.
    Remembered(Vec<Arc<Instance>>),
    /// Journals of processes before this one go as far as that. The catalogue has become again
    /// what it was at their end.
    Recalled(Revision),
    /// Somebody found out about an instance of which the source does not speak any more.
    Seen(Seen),
    /// An operator decided about holds, whatever their source.
    Resolved(Resolution),
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The catalogue's revision after the step; the same as before if nothing happened.
    pub revision: Revision,
    /// Services that readers see changed, sorted.
    pub changed: Vec<ServiceKey>,
    /// Lines of the journal. Empty if nothing happened.
    pub events: Vec<Event>,
}

/// The engine.
#[derive(Debug)]
pub struct Fold {
    guard: GuardSettings,
    clock: RevisionClock,
    catalog: Catalog,
    /// What each source says about each service, in the order of precedence.
    claims: HashMap<ServiceKey, Claims>,
    holders: BTreeMap<SourceId, Holder>,
    verdicts: Verdicts,
    rulings: Rulings,
    /// Places of sources in the configured order; others follow by name.
    ranks: HashMap<SourceId, usize>,
    watch: Watch,
    /// When which empty service is forgotten, soonest first.
    empties: VecDeque<(Timestamp, SourceId, ServiceKey)>,
}

/// What one step gathers before it becomes a revision.
#[derive(Debug)]
struct Step {
    now: Timestamp,
    dirty: BTreeSet<ServiceKey>,
    events: Vec<(Origin, Change)>,
}

impl Fold {
    /// An empty catalogue that begins now.
    #[must_use]
    pub fn new(guard: GuardSettings, mut clock: RevisionClock, now: Timestamp) -> Self {
        let catalog = Catalog::new(clock.next(now), now);
        Self {
            guard,
            clock,
            catalog,
            claims: HashMap::new(),
            holders: BTreeMap::new(),
            verdicts: Verdicts::default(),
            rulings: Rulings::default(),
            ranks: HashMap::new(),
            watch: Watch::default(),
            empties: VecDeque::new(),
        }
    }

    /// The catalogue as it is, to keep.
    #[must_use]
    pub fn catalog(&self) -> Catalog {
        Catalog {
            sources: self.statuses(),
            guard: self.guard_report(),
            ..self.catalog.clone()
        }
    }

    /// A service as it is.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.catalog.service(key)
    }

    /// Sets the guard, for what comes.
    pub fn set_guard(&mut self, guard: GuardSettings) {
        self.guard = guard;
        self.watch.touch();
    }

    /// Sets the order of precedence: the registry first, then as configured. Sources
    /// that are not named follow by name.
    pub fn arrange(&mut self, now: Timestamp, order: &[SourceId]) -> Applied {
        let places = order.iter().cloned().zip(0..);
        self.ranks = places.collect();
        let mut step = Step::new(now);
        self.calm(&mut step);
        for (key, claims) in &mut self.claims {
            if claims.arrange(&self.ranks) {
                step.dirty.insert(key.clone());
            }
        }
        self.finish(step)
    }

    /// Takes in one saying.
    pub fn apply(&mut self, now: Timestamp, saying: Saying) -> Applied {
        let Saying {
            source,
            actor,
            news,
        } = saying;
        let mut step = Step::new(now);
        if matches!(news, News::Said(_)) {
            self.holder(&source).heard_at = Some(now);
        }
        let origin = Origin { source, actor };
        match news {
            News::Said(Change::Put { instance }) => self.put(&mut step, origin, instance),
            News::Said(Change::Remove { key, id, departure }) => match departure {
                Departure::Explicit => self.depart(&mut step, origin, key, id),
                Departure::Inferred => self.miss(&mut step, origin, key, id),
            },
            News::Said(Change::Reset {
                services,
                instances,
            }) => {
                self.reset(&mut step, &origin, services, instances);
            }
            News::Said(Change::Stale { reason }) => self.stale(&mut step, origin, reason),
            News::Replaced => self.holder(&origin.source).replaced = true,
            News::Closed => self.close(&mut step, origin),
            News::Judged(judgement) => self.take_verdict(&mut step, judgement),
            News::Ruled(ruled) => self.take_ruling(&mut step, origin.actor, &ruled),
            News::Bequeathed(bequest) => self.inherit(&mut step, &origin.source, bequest),
            News::Remembered(instances) => self.remember(&mut step, &origin.source, instances),
            News::Recalled(newest) => self.recall(now, newest),
            News::Seen(seen) => self.take_sign(&mut step, &origin.source, seen),
            News::Resolved(resolution) => {
                self.resolve(&mut step, origin.actor.as_ref(), &resolution);
            }
        }
        self.finish(step)
    }

    /// When [`Self::tick`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let guard = self.watch.next_deadline();
        let empty = self.empties.front().map(|empty| empty.0);
        guard.into_iter().chain(empty).min()
    }

    /// Looks at holds, ends those whose time is over, and forgets services that were empty for long.
    pub fn tick(&mut self, now: Timestamp) -> Applied {
        let mut step = Step::new(now);
        self.pass(&mut step);
        self.calm(&mut step);
        while self.empties.front().is_some_and(|empty| empty.0 <= now) {
            self.forget_empty(&mut step);
        }
        self.finish(step)
    }

    /// Makes a step a revision: rebuilds what it touched and writes the journal.
    fn finish(&mut self, step: Step) -> Applied {
        let mut applied = Applied {
            revision: self.catalog.revision,
            changed: Vec::new(),
            events: Vec::new(),
        };
        if step.is_empty() {
            return applied;
        }
        let Step { now, dirty, events } = step;
        let revision = self.clock.next(now);
        let mut undo = Vec::new();
        for key in dirty {
            if self.rebuild(now, &key, revision, &mut undo) {
                applied.changed.push(key);
            }
        }
        if applied.changed.is_empty() && events.is_empty() {
            return applied;
        }
        let events = events.into_iter().map(|(origin, change)| Event {
            revision,
            at: now,
            origin,
            change,
        });
        applied.events = events.collect();
        applied.revision = revision;
        for event in &applied.events {
            if let Some(holder) = self.holders.get_mut(&event.origin.source) {
                holder.changed_at = Some(now);
            }
        }
        self.catalog.revision = revision;
        self.catalog.journal.push(Entry {
            revision,
            at: now,
            events: applied.events.clone(),
            undo,
        });
        applied
    }

    /// Puts over merged instances what sources have no say in; operators have the last word.
    fn cover(&mut self, key: &ServiceKey, instances: &mut [Arc<Instance>]) {
        self.verdicts.cover(key, instances);
        self.watch.damping.cover(key, instances);
        self.rulings.cover(key, instances);
    }

    /// Merges a service anew. Says whether readers see a difference.
    fn rebuild(
        &mut self,
        now: Timestamp,
        key: &ServiceKey,
        revision: Revision,
        undo: &mut Vec<Undo>,
    ) -> bool {
        let before = self.catalog.services.find(key).cloned();
        let old = before
            .as_ref()
            .map_or(&[][..], |service| &service.instances);
        let Some((mut instances, conflicts)) = self.claims.get(key).and_then(Claims::merge) else {
            self.claims.remove(key);
            note_differences(key, old, &[], undo);
            self.catalog.services.remove(key);
            return before.is_some();
        };
        self.cover(key, &mut instances);
        let noted = undo.len();
        note_differences(key, old, &instances, undo);
        self.note_falls(now, key, &undo[noted..], &instances);
        let services = &mut self.catalog.services;
        let same = undo.len() == noted;
        if same
            && before
                .as_ref()
                .is_some_and(|service| service.conflicts == conflicts)
        {
            return false;
        }
        services.insert(Arc::new(Service {
            key: key.clone(),
            modified: revision,
            instances,
            conflicts,
        }));
        true
    }
}

impl Step {
    const fn new(now: Timestamp) -> Self {
        Self {
            now,
            dirty: BTreeSet::new(),
            events: Vec::new(),
        }
    }

    fn tell(&mut self, origin: Origin, change: Change) {
        self.events.push((origin, change));
    }

    fn is_empty(&self) -> bool {
        self.dirty.is_empty() && self.events.is_empty()
    }
}

/// Walks two lists that are sorted by id and notes what stood in the old one
/// wherever they differ.
fn note_differences(
    key: &ServiceKey,
    old: &[Arc<Instance>],
    new: &[Arc<Instance>],
    undo: &mut Vec<Undo>,
) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.id.cmp(&b.id),
        };
        let before = old.next_if(|_| order.is_le());
        let after = new.next_if(|_| order.is_ge());
        if let (Some(before), Some(after)) = (before, after)
            && Arc::ptr_eq(before, after)
        {
            continue;
        }
        let Some(touched) = before.or(after) else {
            return;
        };
        undo.push(Undo {
            key: key.clone(),
            id: touched.id.clone(),
            before: before.cloned(),
            after: after.cloned(),
        });
    }
}
