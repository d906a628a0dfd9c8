//! What was stored of the journal, by this process and those before it.
//!
//! Going back through it over the beginning of a process, whatever the one before had touched
//! is put right first: what is kept of sources may be a second older than the journal. What was
//! registered as that process was cut off, before the journal had it, was told to nobody, and is
//! not in its history.

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

/// How a process ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct End {
    /// How the instances that it touched stood then.
    standings: HashMap<ServiceKey, HashMap<InstanceId, Standing>>,
    /// When it last wrote.
    at: Timestamp,
    /// Since when everything that came is among them, if that is known.
    since: Option<Timestamp>,
}

/// What was stored, to go back through.
#[derive(Debug, PartialEq, Eq)]
pub struct Past {
    entries: Vec<Step>,
    /// How what the last process touched stands.
    ended: End,
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
    /// A process went on here that had begun at `since`, and the one before it had ended so.
    Ended {
        end: End,
        since: Timestamp,
    },
}

/// A stretch between two processes: what was published in it, by the one that ended or by the
/// one that took over, is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "what was between revisions {after} and {until} is not known: one process took over from another"
)]
pub struct Gap {
    /// The last revision that is known before it.
    pub after: Revision,
    /// The first one that is known after it.
    pub until: Revision,
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
            ended: End::default(),
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
                self.ended = End::from(line.at);
                (self.oldest, self.told_from) = (line.revision, line.revision);
                (Vec::new(), WayBack::Undo(Vec::new()))
            }
            Text::Start => self.begin(line, line.at, End::default()),
            Text::Begun { since } => self.begin(line, since, End::from(line.at)),
            Text::Step { said, undo } => {
                if said.is_none() {
                    self.told_from = line.revision;
                }
                for touch in &undo {
                    let standings = &mut self.ended.standings;
                    let of_service = standings.entry(touch.key.clone()).or_default();
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
        self.ended.at = line.at;
        self.entries.push(Step {
            revision: line.revision,
            at: line.at,
            events,
            way_back,
        });
    }

    fn begin(&mut self, line: &Line, since: Timestamp, next: End) -> (Vec<Event>, WayBack) {
        self.began = line.revision;
        let end = std::mem::replace(&mut self.ended, next);
        (Vec::new(), WayBack::Ended { end, since })
    }

    /// The gap that a revision is in, if it is in one.
    #[must_use]
    pub fn gap_at(&self, revision: Revision) -> Option<Gap> {
        let gaps = self.gaps();
        let mut around = gaps.filter(|(gap, _)| gap.after < revision && revision < gap.until);
        around.next().map(|(gap, _)| gap)
    }

    /// The gaps that end after one revision, and at another at the latest.
    #[must_use]
    pub fn gaps_between(&self, after: Revision, until: Revision) -> Vec<Gap> {
        let all = self.gaps().map(|(gap, _)| gap);
        all.filter(|gap| after < gap.until && gap.until <= until)
            .collect()
    }

    /// All gaps, and when the process had begun that took over.
    fn gaps(&self) -> impl Iterator<Item = (Gap, Timestamp)> {
        let pairs = self.entries.iter().zip(self.entries.iter().skip(1));
        pairs.filter_map(|(before, entry)| match entry.way_back {
            WayBack::Undo(_) => None,
            WayBack::Ended { since, .. } => {
                let (after, until) = (before.revision, entry.revision);
                Some((Gap { after, until }, since))
            }
        })
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
    ///
    /// # Errors
    /// [`Gap`]: a process was taking over then.
    pub fn revision_at(&self, time: Timestamp) -> Result<Option<Revision>, Gap> {
        let mut earlier = self
            .entries
            .iter()
            .rev()
            .skip_while(|entry| entry.at > time);
        let found = earlier.next().map(|entry| entry.revision);
        let gap = self.gaps().find(|(gap, _)| Some(gap.after) == found);
        match gap {
            Some((gap, since)) if time >= since => Err(gap),
            Some(_) | None => Ok(found),
        }
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
                WayBack::Ended { end, since } => end.put_right(key, instances, *since),
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

impl End {
    fn from(since: Timestamp) -> Self {
        Self {
            since: Some(since),
            ..Self::default()
        }
    }

    /// Makes instances that were taken up, by a process that began then, what they were at the
    /// end of this one.
    fn put_right(
        &self,
        key: &ServiceKey,
        instances: &mut BTreeMap<InstanceId, Arc<Instance>>,
        began: Timestamp,
    ) {
        let nothing = HashMap::new();
        let standings = self.standings.get(key).unwrap_or(&nothing);
        instances.retain(|id, instance| {
            let first_seen = instance.state.first_seen;
            // Who came later than all that is stored, or is missing there: an instance is seen a
            // moment before the catalogue has it.
            let came_after = first_seen < began
                && self
                    .since
                    .map_or(first_seen >= self.at, |since| first_seen > since);
            let standing = match standings.get(id) {
                Some(standing) => *standing,
                None if came_after => Standing::Gone,
                // Whatever nobody touched was there all the time.
                None => Standing::There,
            };
            set_stale(instance, standing == Standing::Stale);
            standing != Standing::Gone
        });
    }
}

fn set_stale(instance: &mut Arc<Instance>, stale: bool) {
    if instance.state.stale != stale {
        Arc::make_mut(instance).state.stale = stale;
    }
}
