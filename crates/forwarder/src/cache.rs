//! What recursors said, for as long as it holds. Pure.
//!
//! Bounded by bytes. What was asked for since the hand last came by gets another round;
//! everything else goes, first in, first out. So a flood of random names, each asked for
//! once, pushes out itself before it pushes out what is in use.
//!
//! Source: RFC 2308; RFC 8767; RFC 9520 (failures are remembered, too).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    answer::Answer,
    message::{Key, NXDOMAIN},
};

/// What an entry takes besides its bytes.
const OVERHEAD: usize = 256;
/// How long nobody is asked after all have failed: at least a second, says RFC 9520.
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// How long answers may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) bytes: usize,
    pub(super) ttl_max: Duration,
    pub(super) negative_ttl_max: Duration,
    /// How long what has outlived its time is kept for bad times.
    pub(super) stale: Duration,
}

/// What is known about a question.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// This, and it holds.
    Fresh(Arc<Answer>, Duration),
    /// This did hold; it may be told if there is nothing better.
    Stale(Arc<Answer>),
    /// Nobody could say, a moment ago. What did hold before, if anything.
    Failed(Option<Arc<Answer>>),
    /// Nothing.
    Nothing,
}

pub(super) struct Cache {
    bounds: Bounds,
    entries: HashMap<Arc<Key>, Entry>,
    /// The order in which entries came.
    queue: VecDeque<Arc<Key>>,
    bytes: usize,
}

struct Entry {
    answer: Option<Arc<Answer>>,
    since: Instant,
    fresh_until: Instant,
    failed_until: Option<Instant>,
    was_used: bool,
    bytes: usize,
}

impl Cache {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            entries: HashMap::new(),
            queue: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn find(&mut self, key: &Key, now: Instant) -> Known {
        let stale = self.bounds.stale;
        let Some(entry) = self.entries.get_mut(key) else {
            return Known::Nothing;
        };
        entry.was_used = true;
        let is_kept = |_: &&Arc<Answer>| now < later(entry.fresh_until, stale);
        match &entry.answer {
            Some(answer) if now < entry.fresh_until => {
                let age = now.saturating_duration_since(entry.since);
                Known::Fresh(Arc::clone(answer), age)
            }
            answer => {
                let kept = answer.as_ref().filter(is_kept).map(Arc::clone);
                if entry.failed_until.is_some_and(|until| now < until) {
                    return Known::Failed(kept);
                }
                kept.map_or(Known::Nothing, Known::Stale)
            }
        }
    }

    /// Keeps an answer, if it says for how long.
    pub(super) fn keep(&mut self, key: &Key, answer: &Arc<Answer>, now: Instant) {
        let Some(ttl) = answer.ttl.filter(|ttl| *ttl > 0) else {
            self.forget(key);
            return;
        };
        let span = Duration::from_secs(ttl.into()).min(self.longest(answer));
        self.put(
            key,
            |entry| {
                entry.answer = Some(Arc::clone(answer));
                entry.since = now;
                entry.fresh_until = later(now, span);
                entry.failed_until = None;
            },
            now,
        );
    }

    /// Remembers that nobody could say.
    pub(super) fn fail(&mut self, key: &Key, now: Instant) {
        self.put(
            key,
            |entry| entry.failed_until = Some(later(now, FAILURE_TTL)),
            now,
        );
    }

    /// The longest that this may be kept: there being nothing is believed for less long.
    pub(super) fn longest(&self, answer: &Answer) -> Duration {
        if answer.rcode == u16::from(NXDOMAIN) || answer.is_nothing() {
            self.bounds.negative_ttl_max
        } else {
            self.bounds.ttl_max
        }
    }

    /// Answers that are kept.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn put(&mut self, key: &Key, change: impl FnOnce(&mut Entry), now: Instant) {
        let key = if let Some((known, _)) = self.entries.get_key_value(key) {
            Arc::clone(known)
        } else {
            let key = Arc::new(key.clone());
            self.queue.push_back(Arc::clone(&key));
            key
        };
        let entry = self
            .entries
            .entry(Arc::clone(&key))
            .or_insert_with(|| Entry {
                answer: None,
                since: now,
                fresh_until: now,
                failed_until: None,
                was_used: false,
                bytes: 0,
            });
        change(entry);
        let answer = entry.answer.as_ref().map_or(0, |answer| answer.size());
        let bytes = answer.saturating_add(key.len()).saturating_add(OVERHEAD);
        let before = std::mem::replace(&mut entry.bytes, bytes);
        self.bytes = self.bytes.saturating_sub(before).saturating_add(bytes);
        self.make_room();
    }

    fn forget(&mut self, key: &Key) {
        // The entry stays without an answer, so that its place in the queue is not looked for.
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        (entry.answer, entry.failed_until) = (None, None);
        let bytes = key.len().saturating_add(OVERHEAD);
        let before = std::mem::replace(&mut entry.bytes, bytes);
        self.bytes = self.bytes.saturating_sub(before).saturating_add(bytes);
    }

    fn make_room(&mut self) {
        while self.bytes > self.bounds.bytes {
            let Some(key) = self.queue.pop_front() else {
                return;
            };
            if let Some(entry) = self.entries.get_mut(&key)
                && std::mem::take(&mut entry.was_used)
            {
                self.queue.push_back(key);
            } else if let Some(entry) = self.entries.remove(&key) {
                self.bytes = self.bytes.saturating_sub(entry.bytes);
            }
        }
    }
}

fn later(now: Instant, span: Duration) -> Instant {
    now.checked_add(span).unwrap_or(now)
}
