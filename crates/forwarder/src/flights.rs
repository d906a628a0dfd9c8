//! Questions under way: whoever asks what is being asked waits for the same answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{answer::Answer, message::Key};

/// What came of a question; none if no recursor answered.
pub(super) type Outcome = Option<Arc<Answer>>;

/// Resolves when a question has come to its end.
pub(super) type Landing = watch::Receiver<Option<Outcome>>;

/// Slow domains at the least that take all places together.
const DOMAINS: usize = 4;

/// All questions under way.
pub(super) struct Flights {
    limit: usize,
    under_way: Mutex<UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    landings: HashMap<Key, Landing>,
    /// How many there are of each domain.
    domains: HashMap<Box<[u8]>, usize>,
}

/// What becomes of one who asks.
pub(super) enum Boarded {
    /// Somebody asks already.
    Joined(Landing),
    /// Nobody does: it is the caller's to ask.
    First(Flight, Landing),
    /// Too many are under way, in all or of its domain.
    Full,
}

/// A question under way; dropping it ends it, without an answer if it has none.
pub(super) struct Flight {
    key: Key,
    flights: Arc<Flights>,
    end: watch::Sender<Option<Outcome>>,
}

impl Flights {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            under_way: Mutex::default(),
        })
    }

    pub(super) fn board(self: &Arc<Self>, key: &Key) -> Boarded {
        let mut under_way = self.under_way();
        if let Some(landing) = under_way.landings.get(key) {
            return Boarded::Joined(landing.clone());
        }
        let domain = key.domain();
        let of_domain = under_way.domains.get(domain).copied().unwrap_or_default();
        if under_way.landings.len() >= self.limit || of_domain >= self.share() {
            return Boarded::Full;
        }
        under_way
            .domains
            .insert(domain.into(), of_domain.saturating_add(1));
        let (end, landing) = watch::channel(None);
        under_way.landings.insert(key.clone(), landing.clone());
        let flight = Flight {
            key: key.clone(),
            flights: Arc::clone(self),
            end,
        };
        Boarded::First(flight, landing)
    }

    /// What a domain may take, so that one whose servers are slow leaves room for others.
    fn share(&self) -> usize {
        self.limit.div_ceil(DOMAINS)
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        // Nothing is left half done by whoever panics.
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Tells everybody who waits.
    pub(super) fn land(self, outcome: Outcome) {
        self.end.send_replace(Some(outcome));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way();
        under_way.landings.remove(&self.key);
        let domain = self.key.domain();
        if let Some(count) = under_way.domains.get_mut(domain) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                under_way.domains.remove(domain);
            }
        }
    }
}
