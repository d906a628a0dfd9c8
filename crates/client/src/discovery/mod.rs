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

/// Services that handles are kept for; more are known, but made anew each time.
const HANDLES_MAX: usize = 4096;

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
    handles: Mutex<HashMap<ServiceKey, Handle>>,
    /// Keeps the inboxes open.
    _hub: InboxHub,
    /// Ended with the last handle.
    _tasks: Vec<Task>,
}

/// What a handle is made of.
#[derive(Clone, Debug)]
struct Handle {
    entry: Arc<Entry>,
    view: Arc<View>,
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
        if let Some(Handle { entry, view }) = handles.get(&key).cloned() {
            return Service::new(&self.0, entry, view);
        }
        let entry = Arc::new(Entry::new(key.clone(), self.0.millis(), self.0.retries));
        let view = Arc::new(View::new(Terms::default(), &self.0.env));
        let handle = Handle { entry, view };
        if handles.len() < HANDLES_MAX {
            handles.insert(key, handle.clone());
        }
        Service::new(&self.0, handle.entry, handle.view)
    }
}

impl Shared {
    /// Milliseconds since it began.
    fn millis(&self) -> Millis {
        let since = self.env.instant().saturating_duration_since(self.began);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
