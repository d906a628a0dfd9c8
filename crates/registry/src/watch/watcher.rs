//! One client's watch.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use portolan_catalog::{Catalog, Service};
use portolan_model::{Change, Instance, InstanceId, Revision, ServiceKey};
use tokio::sync::{
    broadcast::{
        self,
        error::{RecvError, TryRecvError},
    },
    watch,
};

use super::{
    Hub,
    differences::{Difference, differences},
    hub::Changes,
};
use crate::Reader;

/// Most services that are rewound when a watch of everything resumes; if more changed
/// since, it starts over.
const REWOUND_MAX: usize = 256;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One service, whether it exists or not.
    Service(ServiceKey),
    /// Every service.
    Everything,
}

/// What a watcher tells its client next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Forget everything: all instances that there are follow.
    Reset(Revision),
    /// This instance is so.
    Put(Arc<Instance>),
    /// This instance is gone.
    Remove(ServiceKey, InstanceId),
    /// The client knows everything up to this revision and may resume after it.
    Synced(Revision),
}

/// One client's watch.
pub struct Watcher {
    reader: Arc<dyn Reader>,
    signal: Signal,
    /// What the client knew before.
    before: Known,
    /// What the client knows once everything is told.
    known: Known,
    revision: Revision,
    queue: VecDeque<Told>,
    /// Services that are to be compared, in order.
    pending: VecDeque<ServiceKey>,
    /// Something was told and not yet followed by [`Told::Synced`].
    is_open: bool,
}

enum Signal {
    Service(watch::Receiver<()>),
    Everything(broadcast::Receiver<Changes>),
}

/// What a client knows. A watch of one service must not keep the rest of an old catalogue.
#[derive(Clone)]
enum Known {
    Service(ServiceKey, Option<Arc<Service>>),
    Everything(Catalog),
}

impl Watcher {
    /// Begins a watch; with `after`, as the continuation of an earlier one. `None` if the
    /// program is coming to its end.
    pub async fn new(
        hub: &Hub,
        reader: Arc<dyn Reader>,
        scope: Scope,
        after: Option<Revision>,
    ) -> Option<Self> {
        // Subscribing comes before reading, so that no change falls in between.
        let (signal, before) = match scope {
            Scope::Service(key) => {
                let wakes = hub.service(&key).await?;
                (Signal::Service(wakes), Known::Service(key, None))
            }
            Scope::Everything => {
                let publications = hub.everything();
                let nothing = Known::Everything(Catalog::default());
                (Signal::Everything(publications), nothing)
            }
        };
        let catalog = reader.catalog();
        let mut watcher = Self {
            reader,
            signal,
            known: before.in_catalog(&catalog),
            before,
            revision: catalog.revision(),
            queue: VecDeque::new(),
            pending: VecDeque::new(),
            is_open: false,
        };
        match after.and_then(|after| watcher.known.rewind(&catalog, after)) {
            Some(queue) if queue.is_empty() => {}
            Some(mut queue) => {
                queue.push_back(Told::Synced(watcher.revision));
                watcher.queue = queue;
            }
            None => {
                watcher.queue.push_back(Told::Reset(watcher.revision));
                watcher.pending = watcher.known.differing(&watcher.before);
                watcher.is_open = true;
                watcher.close();
            }
        }
        Some(watcher)
    }

    /// The revision up to which the client knows everything once the queue is told.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether there is something to tell without waiting.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.news() > 0
    }

    /// The revision up to which the client knows everything, if that is all that is left to
    /// tell; it then counts as told.
    pub fn end(&mut self) -> Option<Revision> {
        let (Some(Told::Synced(revision)), 1) = (self.queue.front(), self.news()) else {
            return None;
        };
        let revision = *revision;
        self.queue.clear();
        Some(revision)
    }

    /// How much there is to tell without waiting, at least.
    #[must_use]
    pub fn news(&self) -> usize {
        self.queue.len() + self.pending.len()
    }

    /// What to tell next. Waits for something to change; `None` when nothing will.
    ///
    /// # Cancellation
    /// Safe: nothing is lost.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.queue.pop_front() {
                return Some(told);
            }
            if let Some(key) = self.pending.pop_front() {
                self.compare(&key);
                self.close();
                continue;
            }
            // What is told is no longer needed.
            self.before = self.known.clone();
            let changed = self.signal.changed().await?;
            if changed.as_ref().is_some_and(|(at, _)| *at <= self.revision) {
                continue;
            }
            let newest = self.reader.catalog();
            self.revision = newest.revision();
            self.known = self.before.in_catalog(&newest);
            self.pending = match changed {
                Some((at, keys)) if at == self.revision => keys,
                // More was published meanwhile, and what that was is not heard yet.
                _ => self.known.differing(&self.before),
            };
        }
    }

    fn compare(&mut self, key: &ServiceKey) {
        let (old, new) = (self.before.find(key), self.known.find(key));
        if !matches!((old, new), (Some(old), Some(new)) if Arc::ptr_eq(old, new)) {
            tell(&mut self.queue, key, instances(old), instances(new));
        }
        self.is_open |= !self.queue.is_empty();
    }

    /// Tells the client where it stands when all that changed was told.
    fn close(&mut self) {
        if self.is_open && self.pending.is_empty() {
            self.queue.push_back(Told::Synced(self.revision));
            self.is_open = false;
        }
    }
}

impl Signal {
    /// Waits for a change: of these services up to that revision, or of what only comparing
    /// can tell.
    async fn changed(&mut self) -> Option<Option<(Revision, VecDeque<ServiceKey>)>> {
        match self {
            Self::Service(wakes) => {
                wakes.changed().await.ok()?;
                Some(None)
            }
            Self::Everything(publications) => match publications.recv().await {
                Ok((mut revision, keys)) => {
                    let mut all: BTreeSet<_> = keys.iter().cloned().collect();
                    loop {
                        match publications.try_recv() {
                            Ok((at, keys)) => {
                                revision = revision.max(at);
                                all.extend(keys.iter().cloned());
                            }
                            Err(TryRecvError::Lagged(_)) => return Some(None),
                            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                        }
                    }
                    Some(Some((revision, all.into_iter().collect())))
                }
                Err(RecvError::Lagged(_)) => Some(None),
                Err(RecvError::Closed) => None,
            },
        }
    }
}

impl Known {
    /// The same scope in a catalogue.
    fn in_catalog(&self, catalog: &Catalog) -> Self {
        match self {
            Self::Service(key, _) => {
                Self::Service(key.clone(), catalog.service(key).map(Arc::clone))
            }
            Self::Everything(_) => Self::Everything(catalog.clone()),
        }
    }

    fn find(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        match self {
            Self::Service(_, service) => service.as_ref(),
            Self::Everything(catalog) => catalog.service(key),
        }
    }

    /// The services that differ from what was known before.
    fn differing(&self, before: &Self) -> VecDeque<ServiceKey> {
        match (before, self) {
            (Self::Everything(old), Self::Everything(new)) => differing(old, new),
            (_, Self::Service(key, _)) => [key.clone()].into(),
            (Self::Service(..), Self::Everything(_)) => VecDeque::new(),
        }
    }

    /// What changed since an earlier revision; `None` if that is not known.
    fn rewind(&self, catalog: &Catalog, after: Revision) -> Option<VecDeque<Told>> {
        if after > catalog.revision() {
            return None;
        }
        let keys = match self {
            Self::Service(key, _) => [key.clone()].into(),
            Self::Everything(_) => touched(catalog, after)?,
        };
        let mut queue = VecDeque::new();
        for key in keys {
            let old = catalog.instances_at(&key, after).ok()?;
            tell(&mut queue, &key, &old, instances(catalog.service(&key)));
        }
        Some(queue)
    }
}

/// The services that changed since a revision; `None` if there are too many, or if a
/// source spoke of all of its services at once.
fn touched(catalog: &Catalog, after: Revision) -> Option<BTreeSet<ServiceKey>> {
    let modified = catalog
        .services()
        .filter(|service| service.modified > after);
    let mut keys: BTreeSet<_> = modified.map(|service| service.key.clone()).collect();
    if keys.len() > REWOUND_MAX {
        return None;
    }
    for event in catalog.journal().since(after).ok()? {
        match event.change {
            Change::Put { instance } => keys.insert(instance.key.clone()),
            Change::Remove { key, .. } => keys.insert(key),
            Change::Stale { .. } => false,
            Change::Reset { .. } => return None,
        };
    }
    (keys.len() <= REWOUND_MAX).then_some(keys)
}

fn tell(
    queue: &mut VecDeque<Told>,
    key: &ServiceKey,
    old: &[Arc<Instance>],
    new: &[Arc<Instance>],
) {
    queue.extend(differences(old, new).into_iter().map(|found| match found {
        Difference::Put(instance) => Told::Put(instance),
        Difference::Remove(id) => Told::Remove(key.clone(), id),
    }));
}

fn instances(service: Option<&Arc<Service>>) -> &[Arc<Instance>] {
    service.map_or(&[], |service| &service.instances)
}

/// The keys of services that differ between two catalogues.
fn differing(old: &Catalog, new: &Catalog) -> VecDeque<ServiceKey> {
    let came = new.services().filter(|service| {
        let before = old.service(&service.key);
        before.is_none_or(|before| !Arc::ptr_eq(before, service))
    });
    let gone = old
        .services()
        .filter(|service| new.service(&service.key).is_none());
    let keys: BTreeSet<_> = came
        .chain(gone)
        .map(|service| service.key.clone())
        .collect();
    keys.into_iter().collect()
}
