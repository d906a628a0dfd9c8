//! The audit trail: who changed what, when, from where, and who was not let.
//!
//! What operators change, what programs register all day and what was denied have a ring each,
//! so that none drives the others out; a denial that repeats the one before is counted with it.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use portolan_model::{Revision, Timestamp};
use serde::Serialize;

/// Most entries of each ring.
pub(crate) const AUDIT_MAX: usize = 10_000;
/// The longest text of an entry, in bytes; the rest is cut.
pub(crate) const TEXT_BYTES_MAX: usize = 256;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// It was done.
    Done,
    /// It was not allowed.
    Denied,
    /// There were too many of them.
    Limited,
    /// It was wrong, or could not be done.
    Failed,
}

/// A line of the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    /// Its number; rises by one.
    pub(crate) sequence: u64,
    /// When it was answered.
    #[serde(serialize_with = "rfc3339")]
    pub(crate) at: Timestamp,
    /// The name of the token or certificate; the address without one.
    pub(crate) actor: Arc<str>,
    /// The token's id, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<Arc<str>>,
    /// From where.
    pub(crate) address: IpAddr,
    /// The listener.
    pub(crate) listener: &'static str,
    /// The method.
    pub(crate) method: Arc<str>,
    /// The path, without its query.
    pub(crate) path: Arc<str>,
    /// What it was about, where the path does not say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<Arc<str>>,
    /// The status that was answered.
    pub(crate) status: u16,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// The catalogue's revision when it was answered.
    pub(crate) revision: Revision,
    /// How often it was denied in a row, just so.
    pub(crate) count: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn rfc3339<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

impl Outcome {
    /// What a status says.
    pub(crate) const fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Denied,
            429 => Self::Limited,
            200..=399 => Self::Done,
            _ => Self::Failed,
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        let all = [Self::Done, Self::Denied, Self::Limited, Self::Failed];
        all.into_iter().find(|known| known.as_str() == word)
    }

    /// Its word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::Failed => "failed",
        }
    }

    const fn is_denial(self) -> bool {
        matches!(self, Self::Denied | Self::Limited)
    }
}

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
            && is(&self.listener, entry.listener)
            && path.is_none_or(|begin| entry.path.starts_with(begin))
            && self.outcome.is_none_or(|wanted| wanted == entry.outcome)
    }
}

/// All entries that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Trail(Mutex<Rings>);

#[derive(Debug, Default)]
struct Rings {
    last: u64,
    changes: VecDeque<Entry>,
    /// Registrations and the like.
    routine: VecDeque<Entry>,
    denials: VecDeque<Entry>,
    /// How many calls each listener did not let.
    counts: BTreeMap<(&'static str, Outcome), u64>,
}

impl Trail {
    /// Adds an entry and gives it its number. Says whether it stands for itself: one that
    /// repeats the denial before it is counted there.
    pub(crate) fn add(&self, mut entry: Entry, is_routine: bool) -> bool {
        entry.path = cut(entry.path);
        entry.actor = cut(entry.actor);
        entry.object = entry.object.map(cut);
        let mut rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_denial = entry.outcome.is_denial();
        if is_denial {
            let count = rings.counts.entry((entry.listener, entry.outcome));
            *count.or_default() += 1;
        }
        if let Some(before) = rings.denials.back_mut().filter(|_| is_denial)
            && is_same(before, &entry)
        {
            before.count = before.count.saturating_add(1);
            before.at = entry.at;
            return false;
        }
        rings.last = rings.last.saturating_add(1);
        entry.sequence = rings.last;
        let ring = if is_denial {
            &mut rings.denials
        } else if is_routine {
            &mut rings.routine
        } else {
            &mut rings.changes
        };
        if ring.len() >= AUDIT_MAX {
            ring.pop_front();
        }
        ring.push_back(entry);
        true
    }

    /// How many calls each listener did not let, by how they ended.
    pub(crate) fn denied(&self) -> Vec<(&'static str, &'static str, u64)> {
        let rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = rings.counts.iter();
        counts
            .map(|((listener, outcome), count)| (*listener, outcome.as_str(), *count))
            .collect()
    }

    /// Entries after a number, the first `limit` of them; without a number, the last.
    /// And whether there are more after these.
    pub(crate) fn find(
        &self,
        filter: &Filter,
        after: Option<u64>,
        limit: usize,
    ) -> (Vec<Entry>, bool) {
        let rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = rings.changes.iter().chain(&rings.routine);
        let all = all.chain(&rings.denials);
        let wanted = all.filter(|entry| {
            after.is_none_or(|after| entry.sequence > after) && filter.chooses(entry)
        });
        let mut found: Vec<_> = wanted.cloned().collect();
        drop(rings);
        found.sort_unstable_by_key(|entry| entry.sequence);
        if after.is_some() {
            let has_more = found.len() > limit;
            found.truncate(limit);
            return (found, has_more);
        }
        found.drain(..found.len().saturating_sub(limit));
        (found, false)
    }
}

fn is_same(before: &Entry, entry: &Entry) -> bool {
    let of = |entry: &Entry| (entry.address, entry.listener, entry.status, entry.outcome);
    of(before) == of(entry)
        && before.actor == entry.actor
        && before.method == entry.method
        && before.path == entry.path
}

fn cut(text: Arc<str>) -> Arc<str> {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let end = (0..=TEXT_BYTES_MAX)
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default())
        .unwrap_or_default()
        .into()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn entry(path: &str, outcome: Outcome) -> Entry {
        Entry {
            sequence: 0,
            at: Timestamp::from_millis(1),
            actor: "ci".into(),
            token: None,
            address: Ipv4Addr::LOCALHOST.into(),
            listener: "admin",
            method: "PUT".into(),
            path: path.into(),
            object: None,
            status: 200,
            outcome,
            revision: Revision::FIRST,
            count: 1,
        }
    }

    fn paths(found: &(Vec<Entry>, bool)) -> Vec<&str> {
        found.0.iter().map(|entry| &*entry.path).collect()
    }

    #[test]
    fn a_reader_goes_on_after_what_it_has() {
        let trail = Trail::default();
        for path in ["/a", "/b", "/c"] {
            trail.add(entry(path, Outcome::Done), false);
        }
        let all = Filter::default();
        assert_eq!(paths(&trail.find(&all, None, 2)), ["/b", "/c"]);
        let first = trail.find(&all, Some(0), 2);
        assert_eq!((paths(&first), first.1), (vec!["/a", "/b"], true));
        let rest = trail.find(&all, Some(first.0[1].sequence), 2);
        assert_eq!((paths(&rest), rest.1), (vec!["/c"], false));
        let filter = Filter {
            path: Some("/b".to_owned()),
            ..Filter::default()
        };
        assert_eq!(paths(&trail.find(&filter, None, 9)), ["/b"]);
    }

    #[test]
    fn a_flood_of_denials_drives_no_change_out() {
        let trail = Trail::default();
        trail.add(entry("/a", Outcome::Done), false);
        for n in 0..=AUDIT_MAX {
            assert!(trail.add(entry(&format!("/{n}"), Outcome::Denied), false));
        }
        let (found, _) = trail.find(&Filter::default(), Some(0), usize::MAX);
        assert_eq!(found.len(), 1 + AUDIT_MAX, "the oldest denial went");
        assert_eq!(&*found[0].path, "/a");
    }

    #[test]
    fn registrations_drive_out_nothing_that_operators_did() {
        let trail = Trail::default();
        trail.add(entry("/a", Outcome::Done), false);
        for n in 0..=AUDIT_MAX {
            trail.add(entry(&format!("/{n}"), Outcome::Done), true);
        }
        let (found, _) = trail.find(&Filter::default(), Some(0), usize::MAX);
        assert_eq!((found.len(), &*found[0].path), (1 + AUDIT_MAX, "/a"));
    }

    #[test]
    fn a_denial_that_repeats_is_counted() {
        let trail = Trail::default();
        assert!(trail.add(entry("/a", Outcome::Denied), false));
        assert!(!trail.add(entry("/a", Outcome::Denied), false));
        assert!(trail.add(entry("/b", Outcome::Denied), false));
        let (found, _) = trail.find(&Filter::default(), None, 9);
        assert_eq!((found.len(), found[0].count), (2, 2));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("é".repeat(128).into()).len(), 256);
        assert_eq!(cut(format!("x{}", "é".repeat(128)).into()).len(), 255);
    }
}
