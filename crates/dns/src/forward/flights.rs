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

/// All questions under way.
pub(super) struct Flights {
    limit: usize,
    under_way: Mutex<HashMap<Key, Landing>>,
}

/// What becomes of one who asks.
pub(super) enum Boarded {
    /// Somebody asks already.
    Joined(Landing),
    /// Nobody does: it is the caller's to ask.
    First(Flight, Landing),
    /// Too many are under way.
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
        if let Some(landing) = under_way.get(key) {
            return Boarded::Joined(landing.clone());
        }
        if under_way.len() >= self.limit {
            return Boarded::Full;
        }
        let (end, landing) = watch::channel(None);
        under_way.insert(key.clone(), landing.clone());
        let flight = Flight {
            key: key.clone(),
            flights: Arc::clone(self),
            end,
        };
        Boarded::First(flight, landing)
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Key, Landing>> {
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
        self.flights.under_way().remove(&self.key);
    }
}
