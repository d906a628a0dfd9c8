//! The task that makes one catalogue of what the sources say.

use std::{
    collections::{BTreeSet, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use portolan_balance::{SharedGauges, SlotTable};
use portolan_catalog::{Applied, Catalog, Fold, Inflow};
use portolan_model::{InstanceId, ServiceKey, Timestamp};
use portolan_runtime::Env;
use tokio::sync::watch;

/// Most changes that are published together.
const BATCH_MAX: usize = 1024;
/// How long it sleeps if the fold has nothing to do.
const IDLE: Duration = Duration::from_hours(1);

/// The time on the wall as it was, and what has passed since: whoever sets the clock of the
/// machine must not end what is held, nor prolong it.
pub(super) struct Clock {
    wall: Timestamp,
    began: Instant,
    env: Env,
}

/// The single writer of the catalogue.
pub(super) struct Publisher {
    env: Env,
    clock: Clock,
    inflow: Inflow,
    fold: Fold,
    catalog: watch::Sender<Catalog>,
    gauges: Arc<SharedGauges>,
    slots: Arc<Mutex<SlotTable>>,
    /// Services with addresses that are gone but still have requests under way.
    departing: BTreeSet<ServiceKey>,
}

impl Clock {
    pub(super) fn new(env: &Env) -> Self {
        Self {
            wall: env.now(),
            began: env.instant(),
            env: env.clone(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        let passed = self.env.instant().saturating_duration_since(self.began);
        self.wall.after(passed)
    }
}

impl Publisher {
    pub(super) fn new(
        clock: Clock,
        inflow: Inflow,
        fold: Fold,
        gauges: &Arc<SharedGauges>,
        slots: &Arc<Mutex<SlotTable>>,
    ) -> (Self, watch::Receiver<Catalog>) {
        let (catalog, reader) = watch::channel(fold.catalog());
        let publisher = Self {
            env: clock.env.clone(),
            clock,
            inflow,
            fold,
            catalog,
            gauges: Arc::clone(gauges),
            slots: Arc::clone(slots),
            departing: BTreeSet::new(),
        };
        (publisher, reader)
    }

    /// Publishes until all inboxes are gone.
    pub(super) async fn run(mut self) {
        loop {
            let wake = self
                .fold
                .next_deadline()
                .map(|at| at.since(self.clock.now()));
            let deadline = self.env.instant() + wake.unwrap_or(IDLE);
            let applied = tokio::select! {
                batch = self.inflow.batch(BATCH_MAX) => {
                    if batch.is_empty() {
                        return;
                    }
                    let now = self.clock.now();
                    let sayings = batch.into_iter().map(|arrival| arrival.saying);
                    sayings.map(|saying| self.fold.apply(now, saying)).collect()
                }
                () = self.env.sleep_until(deadline) => vec![self.fold.tick(self.clock.now())],
            };
            self.publish(&applied);
        }
    }

    fn publish(&mut self, applied: &[Applied]) {
        // Sources that spoke without changing anything are news, too.
        self.catalog.send_replace(self.fold.catalog());
        let changed = applied.iter().flat_map(|applied| &applied.changed);
        let mut keys: BTreeSet<ServiceKey> = changed.cloned().collect();
        keys.append(&mut self.departing);
        let catalog = self.catalog.borrow();
        for key in keys {
            if !release(&self.slots, &self.gauges, &catalog, &key) {
                self.departing.insert(key);
            }
        }
    }
}

/// Takes back the slots of addresses that are gone and have no request under way. Says
/// whether that were all that are gone.
fn release(
    slots: &Mutex<SlotTable>,
    gauges: &SharedGauges,
    catalog: &Catalog,
    key: &ServiceKey,
) -> bool {
    // Made before the lock is taken: picks wait for that.
    let instances = catalog
        .service(key)
        .into_iter()
        .flat_map(|service| &service.instances);
    let there: HashSet<(&InstanceId, SocketAddr)> = instances
        .flat_map(|one| one.endpoints.iter().map(|end| (&one.id, end.address)))
        .collect();
    let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
    let gone: Vec<_> = slots
        .of_service(key)
        .filter(|place| !there.contains(place))
        .map(|(id, address)| (id.clone(), address))
        .collect();
    let mut all = true;
    for (id, address) in gone {
        let slot = slots.find(key, &id, address);
        if slot.is_some_and(|slot| gauges.board().in_flight(slot) > 0) {
            all = false;
        } else {
            slots.release(key, &id, address);
        }
    }
    all
}
