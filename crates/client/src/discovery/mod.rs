//! Discovery: which instances a service has, followed live.
//!
//! An embedded catalogue: sources speak into inboxes, the fold makes one catalogue of what
//! they say and holds what would go by inference, as Portolan itself does. Whoever calls a
//! service reads the latest catalogue and never waits for a source.
//!
//! Invariant: what was known stays known until a source says otherwise.

mod attempts;
mod builder;
mod memory;
mod picked;
mod publish;
mod ready;
mod service;
mod source;
#[cfg(test)]
mod tests;
mod view;
mod watch;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use portolan_balance::{Millis, SharedGauges, SlotTable};
use portolan_catalog::{Catalog, InboxHub};
use portolan_model::{BadName, Name, ServiceKey, SourceId};
use portolan_runtime::{Env, Task};
use tokio::sync::watch as channel;

pub use self::{
    attempts::{Attempts, Retries, Safety},
    builder::{BadDiscovery, DiscoveryBuilder},
    picked::{Failure, Picked},
    ready::{NotReady, Ready},
    service::{Balancing, PickError, Service},
    source::Source,
    watch::Watch,
};
use self::{
    service::Entry,
    view::{Terms, View},
};

/// Services that handles are kept for; those that were asked for longest ago are made anew.
const HANDLES_MAX: usize = 4096;
/// How many are kept when there are too many.
const HANDLES_KEPT: usize = HANDLES_MAX / 4 * 3;

/// What is known about services, followed for as long as this or a handle of it lives.
///
/// Cloning is cheap; clones share everything.
#[derive(Clone, Debug)]
pub struct Discovery(Arc<Shared>);

/// What all handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    env: Env,
    began: Instant,
    namespace: Name,
    retries: Retries,
    catalog: channel::Receiver<Catalog>,
    gauges: Arc<SharedGauges>,
    slots: Arc<Mutex<SlotTable>>,
    sources: Vec<SourceId>,
    handles: Mutex<Handles>,
    /// Keeps the inboxes open.
    _hub: InboxHub,
    /// Ended with the last handle.
    _tasks: Vec<Task>,
}

/// The handles of services, so that all calls to one share its budget and its failures.
#[derive(Debug, Default)]
struct Handles {
    by_key: HashMap<ServiceKey, Handle>,
    /// Counts what was asked for.
    asked: u64,
}

/// What a handle is made of.
#[derive(Clone, Debug)]
struct Handle {
    entry: Arc<Entry>,
    view: Arc<View>,
    /// When it was asked for last.
    asked: u64,
}

impl Discovery {
    /// Says where to discover from; without any more words, from the Portolan on this
    /// machine.
    pub fn builder() -> DiscoveryBuilder {
        DiscoveryBuilder::new()
    }

    /// A handle of a service, by its name or as `namespace/name`. The service need not be
    /// known yet.
    ///
    /// # Errors
    /// [`BadName`]: no service can be called that.
    pub fn service(&self, name: &str) -> Result<Service, BadName> {
        let key = match name.split_once('/') {
            Some(_) => ServiceKey::parse(name)?,
            None => ServiceKey {
                namespace: self.0.namespace.clone(),
                name: Name::parse(name)?,
            },
        };
        Ok(self.handle(key))
    }

    /// The services that are known, sorted.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceKey> {
        let catalog = self.0.catalog.borrow();
        let mut keys: Vec<_> = catalog.services().map(|one| one.key.clone()).collect();
        keys.sort();
        keys
    }

    /// Waits until every source has told what it knows, or is away and what it told an
    /// earlier run is remembered; `within` at most. A program that begins to call services
    /// before is told that they are unknown.
    ///
    /// # Errors
    /// [`NotReady`] says which sources are not, and why. They are still tried.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn ready(&self, within: Duration) -> Result<Ready, NotReady> {
        ready::ready(&self.0, within).await
    }

    fn handle(&self, key: ServiceKey) -> Service {
        let handles = self.0.handles.lock();
        let mut handles = handles.unwrap_or_else(PoisonError::into_inner);
        handles.asked += 1;
        let asked = handles.asked;
        if let Some(handle) = handles.by_key.get_mut(&key) {
            handle.asked = asked;
            return Service::new(&self.0, Arc::clone(&handle.entry), Arc::clone(&handle.view));
        }
        if handles.by_key.len() >= HANDLES_MAX {
            handles.make_room(&self.0.catalog.borrow());
        }
        let handle = Handle {
            entry: Arc::new(Entry::new(key.clone(), self.0.millis(), self.0.retries)),
            view: Arc::new(View::new(Terms::default(), &self.0.env)),
            asked,
        };
        handles.by_key.insert(key, handle.clone());
        Service::new(&self.0, handle.entry, handle.view)
    }
}

impl Handles {
    /// Forgets services that there are none of, or that were misspelt, and then those that
    /// were asked for longest ago. One that somebody holds goes last: whoever asks for it
    /// again would get another budget.
    fn make_room(&mut self, catalog: &Catalog) {
        let is_held = |handle: &Handle| Arc::strong_count(&handle.entry) > 1;
        self.by_key
            .retain(|key, handle| is_held(handle) || catalog.service(key).is_some());
        let Some(surplus) = self.by_key.len().checked_sub(HANDLES_KEPT) else {
            return;
        };
        let mut ages: Vec<_> = self.by_key.iter().collect();
        ages.sort_by_key(|(_, handle)| (is_held(handle), handle.asked));
        let oldest: Vec<ServiceKey> = ages
            .into_iter()
            .take(surplus)
            .map(|(key, _)| key.clone())
            .collect();
        for key in oldest {
            self.by_key.remove(&key);
        }
    }
}

impl Shared {
    /// Milliseconds since it began.
    fn millis(&self) -> Millis {
        let since = self.env.instant().saturating_duration_since(self.began);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
