//! The audit trail: who changed what, when, from where, and who was not let.
//!
//! What operators change, what programs register all day and what was denied have a ring each,
//! so that none drives the others out; a denial that repeats the one before is counted with it.

mod find;
mod ring;
mod store;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portolan_model::{Revision, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, de};

use self::ring::Ring;
pub(crate) use self::{
    find::Filter,
    ring::{RingKind, Unstored},
    store::Clerk,
};

/// The longest text of an entry, in bytes; the rest is cut.
pub(crate) const TEXT_BYTES_MAX: usize = 256;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its number; rises by one.
    pub(crate) sequence: u64,
    /// When it was answered.
    #[serde(serialize_with = "rfc3339", deserialize_with = "of_rfc3339")]
    pub(crate) at: Timestamp,
    /// The name of the token or certificate; the address without one.
    pub(crate) actor: Arc<str>,
    /// The token's id, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<Arc<str>>,
    /// From where.
    pub(crate) address: IpAddr,
    /// The listener.
    pub(crate) listener: Cow<'static, str>,
    /// The method.
    pub(crate) method: Arc<str>,
    /// The path, without its query.
    pub(crate) path: Arc<str>,
    /// What it was about, where the path does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

fn of_rfc3339<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = Cow::<'_, str>::deserialize(deserializer)?;
    Timestamp::parse(&text).map_err(de::Error::custom)
}

/// What became of an entry that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It has this number.
    Entry(u64),
    /// It repeats the denial before it, and is counted there.
    Counted,
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

    pub(crate) const fn is_denial(self) -> bool {
        matches!(self, Self::Denied | Self::Limited)
    }
}

/// All entries that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Trail(Mutex<Rings>);

#[derive(Debug, Default)]
struct Rings {
    last: u64,
    /// By their kinds, in the order of [`RingKind::ALL`].
    all: [Ring; 3],
    /// How many calls each listener did not let.
    counts: BTreeMap<(&'static str, Outcome), u64>,
}

impl Trail {
    /// Adds an entry and gives it its number. Says whether it stands for itself: one that
    /// repeats the denial before it is counted there.
    pub(crate) fn add(&self, mut entry: Entry, is_routine: bool) -> Added {
        for text in [&mut entry.path, &mut entry.actor, &mut entry.method] {
            *text = cut(Arc::clone(text));
        }
        entry.object = entry.object.map(cut);
        let is_denial = entry.outcome.is_denial();
        let kind = match (is_denial, is_routine) {
            (true, _) => RingKind::Denials,
            (false, true) => RingKind::Routine,
            (false, false) => RingKind::Changes,
        };
        let mut rings = self.lock();
        if let (true, Cow::Borrowed(listener)) = (is_denial, &entry.listener) {
            let count = rings.counts.entry((listener, entry.outcome));
            *count.or_default() += 1;
        }
        if is_denial && rings.ring(kind).repeats(&entry) {
            return Added::Counted;
        }
        rings.last = rings.last.saturating_add(1);
        entry.sequence = rings.last;
        let sequence = entry.sequence;
        rings.ring(kind).push(entry);
        Added::Entry(sequence)
    }

    /// How many calls each listener did not let, by how they ended.
    pub(crate) fn denied(&self) -> Vec<(&'static str, &'static str, u64)> {
        let rings = self.lock();
        let counts = rings.counts.iter();
        counts
            .map(|((listener, outcome), count)| (*listener, outcome.as_str(), *count))
            .collect()
    }

    /// The number of the last entry.
    pub(crate) fn last(&self) -> u64 {
        self.lock().last
    }

    /// Takes in what earlier processes stored; what this one has added comes after it.
    pub(crate) fn recall(&self, stored: impl Iterator<Item = (RingKind, Vec<Entry>)>) {
        let mut rings = self.lock();
        let mut earlier = Rings::default();
        for (kind, entries) in stored {
            let last = entries.iter().map(|entry| entry.sequence).max();
            earlier.last = earlier.last.max(last.unwrap_or_default());
            earlier.ring(kind).recall(entries);
        }
        let by = earlier.last;
        for (ring, before) in rings.all.iter_mut().zip(earlier.all) {
            ring.follow(before, by);
        }
        rings.last = rings.last.saturating_add(by);
    }

    /// What has to be stored, and removed, to have all of it stored, and the number of its last
    /// entry; none if it is.
    pub(crate) fn unstored(&self) -> Option<Unstored> {
        let mut rings = self.lock();
        let mut unstored = Unstored {
            until: rings.last,
            ..Unstored::default()
        };
        for kind in RingKind::ALL {
            rings.ring(kind).take_unstored(kind, &mut unstored);
        }
        (!unstored.put.is_empty()).then_some(unstored)
    }

    /// Whether there is anything to be stored.
    pub(crate) fn has_unstored(&self) -> bool {
        self.lock().all.iter().any(Ring::has_unstored)
    }

    /// It was not stored: it has to be again.
    pub(crate) fn restore(&self, failed: &Unstored) {
        let mut rings = self.lock();
        for segment in &failed.put {
            rings.ring(segment.kind).store_from(segment.first());
        }
    }

    /// Everything up to this number is stored: memory need not hold all of it.
    pub(crate) fn forget(&self, stored: u64) {
        let mut rings = self.lock();
        rings.all.iter_mut().for_each(|ring| ring.forget(stored));
    }

    fn lock(&self) -> MutexGuard<'_, Rings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rings {
    const fn ring(&mut self, kind: RingKind) -> &mut Ring {
        let [changes, routine, denials] = &mut self.all;
        match kind {
            RingKind::Changes => changes,
            RingKind::Routine => routine,
            RingKind::Denials => denials,
        }
    }
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

    use super::{ring::AUDIT_MAX, *};

    /// All entries in memory.
    fn found(trail: &Trail) -> Vec<Entry> {
        trail.search(&Filter::default(), None, usize::MAX).found
    }

    fn entry(path: &str, outcome: Outcome) -> Entry {
        Entry {
            sequence: 0,
            at: Timestamp::from_millis(1),
            actor: "ci".into(),
            token: None,
            address: Ipv4Addr::LOCALHOST.into(),
            listener: "admin".into(),
            method: "PUT".into(),
            path: path.into(),
            object: None,
            status: 200,
            outcome,
            revision: Revision::FIRST,
            count: 1,
        }
    }

    #[test]
    fn a_flood_of_denials_drives_no_change_out() {
        let trail = Trail::default();
        trail.add(entry("/a", Outcome::Done), false);
        for n in 0..=AUDIT_MAX {
            trail.add(entry(&format!("/{n}"), Outcome::Denied), false);
        }
        let found = found(&trail);
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
        let found = found(&trail);
        assert_eq!((found.len(), &*found[0].path), (1 + AUDIT_MAX, "/a"));
    }

    #[test]
    fn a_denial_that_repeats_is_counted() {
        let trail = Trail::default();
        let added = ["/a", "/a", "/b"].map(|path| trail.add(entry(path, Outcome::Denied), false));
        let expected = [Added::Entry(1), Added::Counted, Added::Entry(2)];
        assert_eq!(added, expected);
        let found = found(&trail);
        assert_eq!((found.len(), found[0].count), (2, 2));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("é".repeat(128).into()).len(), 256);
        assert_eq!(cut(format!("x{}", "é".repeat(128)).into()).len(), 255);
    }
}
