//! Turns of writers: what is read, decided on and written belongs together.
//!
//! Eureka lets the newer of two registrations win, which has to be looked up before it is
//! written. Two writers of one instance therefore take turns; those of other instances
//! hardly ever wait for each other.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use tokio::sync::{Mutex, MutexGuard};

/// How many turns there are.
const TURNS: usize = 256;

/// Guards the writes of instances, by id.
pub(super) struct Turns(Box<[Mutex<()>]>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..TURNS).map(|_| Mutex::new(())).collect())
    }
}

impl Turns {
    /// Waits for the turn of an instance. Held over the write, so it is a lock for tasks.
    pub(super) async fn take(&self, id: &str) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
        let place = usize::try_from(hash % TURNS as u64).unwrap_or(0);
        self.0[place].lock().await
    }
}
