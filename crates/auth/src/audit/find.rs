//! Searching the trail: in memory, and in the store for what memory has forgotten.

use portolan_store::{Ledger, StoreError};

use super::{Entry, Outcome, RingKind, Trail, ring::Kept, store::key_of};
use crate::keeping::{Access, Fault};

/// Which entries are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) actor: Option<String>,
    pub(crate) listener: Option<String>,
    /// The path begins so.
    pub(crate) path: Option<String>,
    pub(crate) outcome: Option<Outcome>,
}

impl Filter {
    fn chooses(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<String>, text: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == text)
        };
        let path = self.path.as_deref();
        is(&self.actor, &entry.actor)
            && is(&self.listener, &entry.listener)
            && path.is_none_or(|begin| entry.path.starts_with(begin))
            && self.outcome.is_none_or(|wanted| wanted == entry.outcome)
    }
}

/// What memory has of a search, and where older entries are.
#[derive(Debug)]
pub(super) struct Search {
    /// Entries in memory that are wanted, in order.
    pub(super) found: Vec<Entry>,
    /// Older ones, if they can be wanted and are needed.
    older: Vec<Older>,
}

/// Segments of a ring with entries that memory has forgotten.
#[derive(Debug)]
struct Older {
    kind: RingKind,
    /// In the order in which they are searched.
    segments: Vec<Kept>,
    /// Entries from this number on are in memory.
    until: u64,
    /// How many entries are enough.
    enough: usize,
}

impl Trail {
    /// Looks for entries after a number, the first `limit` of them; without a number, the last.
    pub(super) fn search(&self, filter: &Filter, after: Option<u64>, limit: usize) -> Search {
        let rings = self.lock();
        let mut found = Vec::new();
        let mut older = Vec::new();
        for (kind, ring) in RingKind::ALL.into_iter().zip(&rings.all) {
            let before = found.len();
            let wanted = ring.entries().filter(|entry| filter.wants(entry, after));
            found.extend(wanted.cloned());
            let (until, mut segments) = ring.older();
            let enough = if let Some(after) = after {
                segments.retain(|kept| kept.last > after);
                // One more tells that there are more.
                limit.saturating_add(1)
            } else {
                segments.reverse();
                limit.saturating_sub(found.len() - before)
            };
            if filter.may_want(kind) && enough > 0 && !segments.is_empty() {
                older.push(Older {
                    kind,
                    segments,
                    until,
                    enough,
                });
            }
        }
        drop(rings);
        found.sort_unstable_by_key(|entry| entry.sequence);
        Search { found, older }
    }
}

impl Filter {
    /// Whether a ring of that kind can have any: denials have one of their own.
    fn may_want(&self, kind: RingKind) -> bool {
        let is_denials = kind == RingKind::Denials;
        self.outcome
            .is_none_or(|wanted| wanted.is_denial() == is_denials)
    }

    fn wants(&self, entry: &Entry, after: Option<u64>) -> bool {
        after.is_none_or(|after| entry.sequence > after) && self.chooses(entry)
    }
}

impl Access {
    /// Entries after a number, the first `limit` of them; without a number, the last.
    /// And whether there are more after these.
    ///
    /// # Errors
    /// [`Fault`]: older entries can't be read.
    pub(crate) async fn entries(
        &self,
        filter: &Filter,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Entry>, bool), Fault> {
        let Search { mut found, older } = self.trail().search(filter, after, limit);
        if !older.is_empty() {
            let store = self.store().clone().ok_or(Fault::NoStore)?;
            for ring in &older {
                ring.read(&*store, |entry| filter.wants(entry, after), &mut found)
                    .await?;
            }
            found.sort_unstable_by_key(|entry| entry.sequence);
        }
        if after.is_some() {
            let has_more = found.len() > limit;
            found.truncate(limit);
            return Ok((found, has_more));
        }
        found.drain(..found.len().saturating_sub(limit));
        Ok((found, false))
    }
}

impl Older {
    /// Adds entries that are wanted, until there are enough or no more.
    async fn read(
        &self,
        store: &dyn Ledger,
        is_wanted: impl Fn(&Entry) -> bool,
        found: &mut Vec<Entry>,
    ) -> Result<(), StoreError> {
        let begin = found.len();
        for segment in &self.segments {
            if found.len() - begin >= self.enough {
                break;
            }
            // One that just went was the oldest, and its time was over.
            let Some(record) = store.read(key_of(self.kind, segment.first)).await? else {
                continue;
            };
            // What can't be read was told when the program started.
            let entries: Vec<Entry> = serde_json::from_slice(&record.value).unwrap_or_default();
            let wanted = entries
                .into_iter()
                .filter(|entry| entry.sequence < self.until && is_wanted(entry));
            found.extend(wanted);
        }
        Ok(())
    }
}
