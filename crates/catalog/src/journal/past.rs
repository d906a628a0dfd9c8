//! What was stored of the journal, by this process and those before it.
//!
//! Going back through it over the beginning of a process, whatever the one before had touched
//! is put right first: what is kept of sources may be a second older than the journal.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use portolan_model::{Event, Instance, InstanceId, Revision, ServiceKey, Timestamp};
use serde::{Deserialize, Serialize};

use super::line::{Former, Line, Text, Touch};

/// A stored line that is none of ours.
#[derive(Debug, thiserror::Error)]
#[error("the journal's line of revision {revision} can't be read")]
pub struct BadLine {
    /// Which line.
    pub revision: Revision,
    /// What is wrong with it.
    #[source]
    pub source: serde_json::Error,
}

/// What became of an instance by a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    /// It is there, and its source knows of it.
    #[default]
    There,
    /// It is there, as its source said last.
    Stale,
    /// It is not there.
    Gone,
}

/// How the instances that a process touched stood at its end.
type Standings = HashMap<ServiceKey, HashMap<InstanceId, Standing>>;

/// What was stored, to go back through.
#[derive(Debug, PartialEq, Eq)]
pub struct Past {
    entries: Vec<Step>,
    /// How what the last process touched stands.
    ended: Standings,
    oldest: Revision,
    told_from: Revision,
    /// Where the last process began.
    began: Revision,
}

#[derive(Debug, PartialEq, Eq)]
struct Step {
    revision: Revision,
    at: Timestamp,
    events: Vec<Event>,
    way_back: WayBack,
}

#[derive(Debug, PartialEq, Eq)]
enum WayBack {
    Undo(Vec<Touch>),
    /// A process began here, and the one before it ended so.
    Ended(Standings),
}

impl Past {
    /// Reads stored lines, oldest first; nothing comes of none. Nobody can go back over a line
    /// that can't be read, so what was before the last such line is forgotten; it is told.
    #[must_use]
    pub fn read(lines: &[Line]) -> (Option<Self>, Option<BadLine>) {
        let Some(first) = lines.first() else {
            return (None, None);
        };
        let mut bad = None;
        let mut past = Self {
            entries: Vec::with_capacity(lines.len()),
            ended: Standings::new(),
            oldest: first.revision,
            told_from: first.revision,
            began: first.revision,
        };
        for line in lines {
            let text = serde_json::from_slice(&line.text).unwrap_or_else(|source| {
                let revision = line.revision;
                bad = Some(BadLine { revision, source });
                Text::Gap
            });
            past.take(line, text);
        }
        (Some(past), bad)
    }

    fn take(&mut self, line: &Line, text: Text) {
        let (events, way_back) = match text {
            Text::Gap => {
                self.entries.clear();
                self.ended.clear();
                (self.oldest, self.told_from) = (line.revision, line.revision);
                (Vec::new(), WayBack::Undo(Vec::new()))
            }
            Text::Start => {
                self.began = line.revision;
                (Vec::new(), WayBack::Ended(std::mem::take(&mut self.ended)))
            }
            Text::Step { said, undo } => {
                if said.is_none() {
                    self.told_from = line.revision;
                }
                for touch in &undo {
                    let of_service = self.ended.entry(touch.key.clone()).or_default();
                    of_service.insert(touch.id.clone(), touch.after);
                }
                let events = said.into_iter().flatten().map(|said| Event {
                    revision: line.revision,
                    at: line.at,
                    origin: said.origin,
                    change: said.change,
                });
                (events.collect(), WayBack::Undo(undo))
            }
        };
        self.entries.push(Step {
            revision: line.revision,
            at: line.at,
            events,
            way_back,
        });
    }

    /// The last revision.
    #[must_use]
    pub fn newest(&self) -> Revision {
        self.entries
            .last()
            .map_or(self.oldest, |entry| entry.revision)
    }

    /// The first revision of which it is known what instances were.
    #[must_use]
    pub const fn oldest(&self) -> Revision {
        self.oldest
    }

    /// Where the last process began: what it did before that, to become what the one before
    /// it was, is not stored.
    pub(super) const fn began(&self) -> Revision {
        self.began
    }

    /// All that was said after this revision is known.
    #[must_use]
    pub const fn told_from(&self) -> Revision {
        self.told_from
    }

    /// What was said after one revision, and until another.
    pub(super) fn told_between(&self, after: Revision, until: Revision) -> Vec<Event> {
        let later = self
            .entries
            .iter()
            .skip_while(|entry| entry.revision <= after);
        let between = later.take_while(|entry| entry.revision <= until);
        between
            .flat_map(|entry| entry.events.iter().cloned())
            .collect()
    }

    /// The revision that the catalogue had at a time; `None` if that is forgotten.
    #[must_use]
    pub fn revision_at(&self, time: Timestamp) -> Option<Revision> {
        let mut earlier = self
            .entries
            .iter()
            .rev()
            .skip_while(|entry| entry.at > time);
        earlier.next().map(|entry| entry.revision)
    }

    /// Turns what the instances of a service were at one revision into what they were at an
    /// earlier one.
    pub(super) fn rewind(
        &self,
        key: &ServiceKey,
        instances: &mut BTreeMap<InstanceId, Arc<Instance>>,
        (from, to): (Revision, Revision),
    ) {
        let entries = self.entries.iter().rev();
        let entries = entries.skip_while(|entry| entry.revision > from);
        for entry in entries.take_while(|entry| entry.revision > to) {
            match &entry.way_back {
                WayBack::Ended(ended) => put_right(ended, key, instances),
                WayBack::Undo(undo) => {
                    for touch in undo.iter().rev().filter(|touch| touch.key == *key) {
                        touch.undo(instances);
                    }
                }
            }
        }
    }
}

impl Touch {
    fn undo(&self, instances: &mut BTreeMap<InstanceId, Arc<Instance>>) {
        match &self.before {
            Former::Absent => {
                instances.remove(&self.id);
            }
            Former::Was(before) => {
                instances.insert(self.id.clone(), Arc::clone(before));
            }
            Former::Stale(stale) => {
                if let Some(instance) = instances.get_mut(&self.id) {
                    set_stale(instance, *stale);
                }
            }
        }
    }
}

/// Makes instances that were taken up what they were when the process before ended.
fn put_right(
    ended: &Standings,
    key: &ServiceKey,
    instances: &mut BTreeMap<InstanceId, Arc<Instance>>,
) {
    let nothing = HashMap::new();
    let ended = ended.get(key).unwrap_or(&nothing);
    instances.retain(|id, instance| {
        // Whatever nobody touched was there all the time.
        let standing = ended.get(id).copied().unwrap_or_default();
        set_stale(instance, standing == Standing::Stale);
        standing != Standing::Gone
    });
}

fn set_stale(instance: &mut Arc<Instance>, stale: bool) {
    if instance.state.stale != stale {
        Arc::make_mut(instance).state.stale = stale;
    }
}
