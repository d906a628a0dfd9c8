//! How everybody reads the one snapshot.
//!
//! Control-plane readers take it whole; a worker keeps the newest in its hand and
//! looks at one counter a request to see whether there is a newer one. Nobody waits
//! for anybody.

use std::{
    cell::{Cell, RefCell},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use portolan_balance::Slot;
use portolan_catalog::Catalog;
use portolan_model::{Revision, ServiceKey};
use tokio::sync::{Notify, broadcast};

use crate::{Cluster, Compiled, publisher::SharedSlots, sharded::Sharded};

/// Publications that a slow subscriber may be behind before it learns that it missed some.
const PUBLICATIONS_MAX: usize = 1024;

/// Everything that a request or a reader needs to know, at one revision.
#[derive(Debug)]
pub struct Snapshot {
    /// The catalogue.
    pub catalog: Catalog,
    /// What the plan became.
    pub compiled: Arc<Compiled>,
    /// The clusters of the plan's targets, by their places.
    pub clusters: Vec<Arc<Cluster>>,
    pub(crate) automatic: Sharded<Cluster>,
}

impl Snapshot {
    /// The catalogue's revision.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.catalog.revision()
    }

    /// The cluster of a service on the built-in lane.
    #[must_use]
    pub fn automatic(&self, key: &ServiceKey) -> Option<&Arc<Cluster>> {
        self.automatic.get(key)
    }
}

/// A snapshot became visible.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Its revision.
    pub revision: Revision,
    /// The services that differ from the snapshot before.
    pub changed: Arc<[ServiceKey]>,
}

/// Makes something of its own of each snapshot before readers see it, so that a writer who is
/// told of a change finds it there, too.
pub trait Follower: fmt::Debug + Send + Sync {
    /// Called once, with what is published when it is attached.
    fn begin(&self, snapshot: &Snapshot);

    /// Called for each snapshot after that, on the publisher's task, with the services that
    /// differ from the one before. All writers wait for it: it must do no more than the changes
    /// ask for, and wait for nothing. One that panics is told of no more snapshots.
    fn take_in(&self, snapshot: &Snapshot, changed: &[ServiceKey]);
}

/// A handle on the newest snapshot; cheap to clone.
#[derive(Clone, Debug)]
pub struct View(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: ArcSwap<Snapshot>,
    /// Raised after each swap.
    generation: AtomicU64,
    /// The revision that each worker holds; written by that worker alone.
    held: Box<[AtomicU64]>,
    publications: broadcast::Sender<Publication>,
    published: Notify,
    /// Guards the list, and keeps those who attach and publications apart; held for no await.
    followers: Mutex<Vec<Weak<dyn Follower>>>,
    /// Signalled when a worker has moved on.
    moved: Notify,
    slots: SharedSlots,
}

impl View {
    pub(crate) fn new(first: Snapshot, workers: usize, slots: SharedSlots) -> Self {
        Self(Arc::new(Shared {
            held: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            current: ArcSwap::from_pointee(first),
            generation: AtomicU64::new(1),
            publications: broadcast::Sender::new(PUBLICATIONS_MAX),
            published: Notify::new(),
            followers: Mutex::default(),
            moved: Notify::new(),
            slots,
        }))
    }

    /// The newest snapshot, for readers that are not workers.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.current.load_full()
    }

    /// Counts publications: a reader that saw this number has nothing newer to read.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// What is published from now on. A reader that lags learns how many it missed and
    /// should read the snapshot whole.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Publication> {
        self.0.publications.subscribe()
    }

    /// Lets a follower make something of each snapshot from now on, as long as somebody else
    /// keeps it.
    pub fn attach(&self, follower: &Arc<dyn Follower>) {
        let mut followers = self.followers();
        follower.begin(&self.snapshot());
        followers.push(Arc::downgrade(follower));
    }

    pub(crate) fn publish(&self, snapshot: Snapshot, changed: Vec<ServiceKey>) {
        let mut followers = self.followers();
        followers.retain(|follower| has_taken_in(follower, &snapshot, &changed));
        let publication = Publication {
            revision: snapshot.revision(),
            changed: changed.into(),
        };
        self.0.current.store(Arc::new(snapshot));
        drop(followers);
        self.0.generation.fetch_add(1, Ordering::Release);
        self.0.published.notify_waiters();
        // Nobody may be listening.
        let _listeners = self.0.publications.send(publication);
    }

    fn followers(&self) -> MutexGuard<'_, Vec<Weak<dyn Follower>>> {
        let followers = &self.0.followers;
        followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The view of a worker, to be kept on its thread.
    #[must_use]
    pub fn worker(&self, index: usize) -> WorkerView {
        let current = Rc::new(self.snapshot());
        let view = WorkerView {
            shared: Arc::clone(&self.0),
            index,
            generation: Cell::new(0),
            current: RefCell::new(current),
        };
        view.refresh();
        view
    }

    /// Resolves when every worker that has started holds `revision` or a later one.
    pub async fn passed(&self, revision: Revision) {
        loop {
            let moved = self.0.moved.notified();
            if self.have_passed(revision) {
                return;
            }
            moved.await;
        }
    }

    pub(crate) fn have_passed(&self, revision: Revision) -> bool {
        let behind =
            |held: &AtomicU64| (1..revision.as_u64()).contains(&held.load(Ordering::Acquire));
        !self.0.held.iter().any(behind)
    }
}

/// Tells a follower of a snapshot. Says whether it is to be told of the next.
fn has_taken_in(
    follower: &Weak<dyn Follower>,
    snapshot: &Snapshot,
    changed: &[ServiceKey],
) -> bool {
    let Some(follower) = follower.upgrade() else {
        return false;
    };
    // Half of what it has made may be missing, so that it is not called again; everybody else
    // must still hear of changes.
    let told = catch_unwind(AssertUnwindSafe(|| follower.take_in(snapshot, changed)));
    if told.is_err() {
        let revision = snapshot.revision().as_u64();
        tracing::error!(
            revision,
            "what follows the services has a defect and stays as it is until a restart"
        );
    }
    told.is_ok()
}

/// The newest snapshot in a worker's hand.
#[derive(Debug)]
#[expect(
    clippy::redundant_allocation,
    reason = "requests count on the worker's own counter, and touch none that cores share"
)]
pub struct WorkerView {
    shared: Arc<Shared>,
    index: usize,
    generation: Cell<u64>,
    current: RefCell<Rc<Arc<Snapshot>>>,
}

impl WorkerView {
    /// Pins the newest snapshot for a request. Touches no counter that another core writes.
    #[must_use]
    pub fn pin(&self) -> Rc<Arc<Snapshot>> {
        if self.shared.generation.load(Ordering::Acquire) != self.generation.get() {
            self.refresh();
        }
        Rc::clone(&self.current.borrow())
    }

    /// Which of those slots belong to addresses that have left the catalogue. Takes a lock of the
    /// control plane: not for the request path.
    #[must_use]
    pub fn departed(&self, slots: impl Iterator<Item = Slot>) -> Vec<Slot> {
        let table = self
            .shared
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        slots.filter(|slot| !table.is_live(*slot)).collect()
    }

    /// Lets go of an old snapshot although no request comes: to be polled by the worker's own
    /// task, for ever.
    pub async fn follow(&self) {
        loop {
            let published = self.shared.published.notified();
            drop(self.pin());
            published.await;
        }
    }

    fn refresh(&self) {
        // The counter is read first: a swap in between is seen at the next look.
        self.generation
            .set(self.shared.generation.load(Ordering::Acquire));
        let newest = self.shared.current.load_full();
        let revision = newest.revision().as_u64();
        *self.current.borrow_mut() = Rc::new(newest);
        if let Some(held) = self.shared.held.get(self.index) {
            held.store(revision, Ordering::Release);
        }
        self.shared.moved.notify_waiters();
    }
}
