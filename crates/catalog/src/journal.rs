//! The journal: what happened lately, and what was before it.
//!
//! A bounded ring of entries, one a revision. Each holds the events as they were
//! taken in and, to go back in time, what every touched instance looked like before.
//! Like the catalogue it is immutable to readers and shares its chunks.
//!
//! Behind the ring lies the [`Past`]: what was stored, of this process and of those before
//! it. It is read when somebody asks for it, so that no memory is held for it.

mod line;
mod past;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use portolan_model::{Change, Event, Instance, InstanceId, Revision, ServiceKey, Timestamp};

use self::past::Standing;
pub use self::{
    line::{LINE_BYTES_MAX, Line},
    past::{BadLine, Gap, Past},
};

/// Most entries that are remembered.
pub const JOURNAL_ENTRIES_MAX: usize = 2_048;
/// Most services and instances that all entries together may mention.
pub const JOURNAL_WEIGHT_MAX: usize = 65_536;
/// Entries that are copied when a shared journal is written to.
const CHUNK: usize = 64;

/// The journal does not reach back that far; read the catalogue instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revision {wanted} is forgotten; the journal goes back to {oldest}")]
pub struct Forgotten {
    /// The revision that was asked for.
    pub wanted: Revision,
    /// The oldest revision that can be asked for.
    pub oldest: Revision,
}

/// What happened lately; cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    chunks: Arc<VecDeque<Arc<VecDeque<Arc<Entry>>>>>,
    entries: usize,
    weight: usize,
    /// All that happened after this revision is known.
    oldest: Revision,
    /// When that was; when the process began if nothing is forgotten.
    oldest_at: Timestamp,
    /// When the process began.
    began_at: Timestamp,
}

/// One step of the catalogue.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) revision: Revision,
    pub(crate) at: Timestamp,
    pub(crate) events: Vec<Event>,
    pub(crate) undo: Vec<Undo>,
}

/// What an instance of the merged catalogue was before a step.
#[derive(Debug)]
pub(crate) struct Undo {
    pub(crate) key: ServiceKey,
    pub(crate) id: InstanceId,
    pub(crate) before: Option<Arc<Instance>>,
    pub(crate) after: Option<Arc<Instance>>,
}

/// An instance of the merged catalogue as it was before a step that touched it.
#[derive(Clone, Copy, Debug)]
pub struct Before<'j> {
    /// Its service.
    pub key: &'j ServiceKey,
    /// Its id.
    pub id: &'j InstanceId,
    /// What it was; none if it was not there.
    pub instance: Option<&'j Arc<Instance>>,
}

impl Journal {
    pub(crate) fn new(oldest: Revision, began_at: Timestamp) -> Self {
        Self {
            chunks: Arc::default(),
            entries: 0,
            weight: 0,
            oldest,
            oldest_at: began_at,
            began_at,
        }
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.weight += entry.weight();
        self.entries += 1;
        let chunks = Arc::make_mut(&mut self.chunks);
        match chunks.back_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => Arc::make_mut(chunk).push_back(Arc::new(entry)),
            None => chunks.push_back(Arc::new(VecDeque::from([Arc::new(entry)]))),
        }
        while self.entries > JOURNAL_ENTRIES_MAX || self.weight > JOURNAL_WEIGHT_MAX {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(first) = chunks.front_mut() else {
            (self.entries, self.weight) = (0, 0);
            return;
        };
        if let Some(entry) = Arc::make_mut(first).pop_front() {
            self.entries -= 1;
            self.weight -= entry.weight();
            (self.oldest, self.oldest_at) = (entry.revision, entry.at);
        }
        if first.is_empty() {
            chunks.pop_front();
        }
    }

    /// The oldest revision that [`Self::since`] can start from.
    #[must_use]
    pub const fn oldest(&self) -> Revision {
        self.oldest
    }

    /// When the process began.
    #[must_use]
    pub const fn began_at(&self) -> Timestamp {
        self.began_at
    }

    /// Every event after `revision`, oldest first, with the help of what was stored.
    ///
    /// # Errors
    /// [`Forgotten`] if neither reaches back that far.
    pub fn told_since(
        &self,
        revision: Revision,
        past: Option<&Past>,
    ) -> Result<Vec<Event>, Forgotten> {
        let past = past.filter(|past| self.follows(past) && revision < self.oldest);
        let Some(past) = past else {
            return self.since(revision);
        };
        if revision < past.told_from() {
            return Err(Forgotten {
                wanted: revision,
                oldest: past.told_from(),
            });
        }
        let until = self.oldest.max(past.began());
        let mut events = past.told_between(revision, until);
        events.extend(self.since(until)?);
        Ok(events)
    }

    /// Whether nothing is missing between what was stored and the ring.
    fn follows(&self, past: &Past) -> bool {
        past.newest() >= self.oldest
    }

    /// What is to be stored of every entry after `revision`, oldest first. If the journal does
    /// not reach back that far, they begin with one that says so to whoever reads them.
    pub fn lines_since(&self, revision: Revision) -> impl Iterator<Item = Line> {
        let known = revision.max(self.oldest);
        let gap = (known > revision).then(|| Line::gap(known, self.oldest_at));
        let mut entries: Vec<_> = self.newest_first(known).collect();
        entries.reverse();
        gap.into_iter().chain(entries.into_iter().map(Line::of))
    }

    /// Every event after `revision`, oldest first.
    ///
    /// # Errors
    /// [`Forgotten`] if the journal does not reach back that far.
    pub fn since(&self, revision: Revision) -> Result<Vec<Event>, Forgotten> {
        self.check(revision)?;
        let newest_first = self.newest_first(revision);
        let mut entries: Vec<_> = newest_first.collect();
        entries.reverse();
        Ok(entries
            .into_iter()
            .flat_map(|entry| entry.events.iter().cloned())
            .collect())
    }

    /// Every instance of the merged catalogue that was touched after `revision`, as it was
    /// before: once for each step, oldest first.
    ///
    /// # Errors
    /// [`Forgotten`] if the journal does not reach back that far.
    pub fn touched_since(&self, revision: Revision) -> Result<Vec<Before<'_>>, Forgotten> {
        self.check(revision)?;
        let undo = self
            .newest_first(revision)
            .flat_map(|entry| entry.undo.iter().rev());
        let mut touched: Vec<_> = undo
            .map(|undo| Before {
                key: &undo.key,
                id: &undo.id,
                instance: undo.before.as_ref(),
            })
            .collect();
        touched.reverse();
        Ok(touched)
    }

    /// The revision that the catalogue had at a time; `None` if that is forgotten.
    #[must_use]
    pub fn revision_at(&self, time: Timestamp) -> Option<Revision> {
        let entries = self.newest_first(self.oldest);
        let mut earlier = entries.skip_while(|entry| entry.at > time);
        earlier.next().map(|entry| entry.revision)
    }

    /// What the instances of a service were at `revision`, given what they are `today` and
    /// what was stored.
    pub(crate) fn rewind(
        &self,
        key: &ServiceKey,
        today: &[Arc<Instance>],
        revision: Revision,
        past: Option<&Past>,
    ) -> Result<Vec<Arc<Instance>>, Forgotten> {
        let past = past.filter(|past| self.follows(past) && revision < self.oldest);
        let oldest = past.map_or(self.oldest, Past::oldest);
        if revision < oldest {
            let wanted = revision;
            return Err(Forgotten { wanted, oldest });
        }
        let mut instances: BTreeMap<_, _> = today
            .iter()
            .map(|instance| (instance.id.clone(), Arc::clone(instance)))
            .collect();
        let until = past.map_or(revision, |past| self.oldest.max(past.began()));
        let undo = self
            .newest_first(until)
            .flat_map(|entry| entry.undo.iter().rev());
        for undo in undo.filter(|undo| undo.key == *key) {
            match &undo.before {
                Some(before) => instances.insert(undo.id.clone(), Arc::clone(before)),
                None => instances.remove(&undo.id),
            };
        }
        if let Some(past) = past {
            past.rewind(key, &mut instances, (until, revision));
        }
        Ok(instances.into_values().collect())
    }

    fn check(&self, wanted: Revision) -> Result<(), Forgotten> {
        if wanted < self.oldest {
            return Err(Forgotten {
                wanted,
                oldest: self.oldest,
            });
        }
        Ok(())
    }

    fn newest_first(&self, after: Revision) -> impl Iterator<Item = &Entry> {
        let chunks = self.chunks.iter().rev();
        chunks
            .flat_map(|chunk| chunk.iter().rev())
            .map(Arc::as_ref)
            .take_while(move |entry| entry.revision > after)
    }
}

impl Undo {
    /// What became of the instance.
    fn standing(&self) -> Standing {
        match &self.after {
            None => Standing::Gone,
            Some(after) if after.state.stale => Standing::Stale,
            Some(_) => Standing::There,
        }
    }
}

impl Entry {
    /// Services and instances that it mentions, at least one.
    fn weight(&self) -> usize {
        let said: usize = self.events.iter().map(weight_of).sum();
        said.max(self.undo.len()).max(1)
    }
}

const fn weight_of(event: &Event) -> usize {
    match &event.change {
        Change::Reset {
            services,
            instances,
        } => services.len().saturating_add(instances.len()),
        Change::Put { .. } | Change::Remove { .. } | Change::Stale { .. } => 1,
    }
}
