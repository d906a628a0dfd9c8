//! One update at a time for each service.
//!
//! What an update plans holds only as long as nobody else changes the same services by an
//! update. Updates of different services don't wait for each other.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use portolan_model::ServiceKey;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The services that updates have in hand; others may change them when all are dropped.
pub(super) type Held = Arc<Vec<OwnedMutexGuard<()>>>;

/// Who has which service in hand.
#[derive(Default)]
pub(super) struct Locks(Mutex<HashMap<ServiceKey, Weak<AsyncMutex<()>>>>);

impl Locks {
    /// Waits for these services, in their order, so that nobody waits for one who waits for
    /// him.
    pub(super) async fn hold(&self, services: BTreeSet<ServiceKey>) -> Held {
        let mut held = Vec::with_capacity(services.len());
        for service in services {
            held.push(self.of(service).lock_owned().await);
        }
        Arc::new(held)
    }

    fn of(&self, service: ServiceKey) -> Arc<AsyncMutex<()>> {
        // Nothing is left half done by whoever panics.
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(&service).and_then(Weak::upgrade) {
            return lock;
        }
        if locks.len() == locks.capacity() {
            locks.retain(|_, lock| lock.strong_count() > 0);
        }
        let lock = Arc::default();
        locks.insert(service, Arc::downgrade(&lock));
        lock
    }
}
