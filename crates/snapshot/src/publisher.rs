//! The single writer: events and plans come in, snapshots go out by one swap.
//!
//! The first change after a pause is published at once; what follows within
//! [`COALESCE`] is published together. Only the clusters of changed services are
//! built anew.

mod departures;
mod fixed;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use portolan_balance::{Board, SlotTable};
use portolan_catalog::{Applied, Arrival, Fold, Inflow, News, Saying};
use portolan_config::Plan;
use portolan_model::{Revision, RevisionClock, ServiceKey, SourceId};
use portolan_runtime::{Dice, Env, Running};
use portolan_telemetry::Meters;
use tokio::sync::{mpsc, oneshot};

use self::{departures::Departed, fixed::fixed_instances};
use crate::{
    Cluster, Compiled, Snapshot, View,
    cluster::Builder,
    compile::{Compiler, Numbers},
    evidence::WorkersEvidence,
    sharded::Sharded,
};

/// After a publication, the next one waits so long for more.
pub const COALESCE: Duration = Duration::from_millis(2);
/// Most changes taken in for one publication.
const BATCH_MAX: usize = 4096;
/// Plans that may wait.
const PLANS_MAX: usize = 4;
/// The source of the fixed addresses in the configuration.
const FIXED_SOURCE: &str = "upstreams";

/// What a publisher works with.
#[derive(Debug)]
pub struct Parts {
    /// Clock and dice.
    pub env: Env,
    /// Where metrics rows come from.
    pub meters: Arc<Meters>,
    /// The workers' gauges.
    pub board: Arc<Board>,
    /// What sources say.
    pub inflow: Inflow,
    /// The last revision of a process before this one: ours are above it.
    pub revision: Revision,
}

/// Puts plans in force.
#[derive(Clone, Debug)]
pub struct Plans(mpsc::Sender<Order>);

#[derive(Debug)]
struct Order {
    plan: Arc<Plan>,
    done: oneshot::Sender<Revision>,
}

/// The publisher is gone: the program is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the publisher has ended")]
pub struct Ended;

impl Plans {
    /// Puts a plan in force. Resolves after the swap.
    ///
    /// # Errors
    /// [`Ended`] while the program ends.
    pub async fn apply(&self, plan: Arc<Plan>) -> Result<Revision, Ended> {
        let (done, revision) = oneshot::channel();
        self.0.send(Order { plan, done }).await.map_err(|_| Ended)?;
        revision.await.map_err(|_| Ended)
    }
}

/// The slots in use, shared with whoever must find an instance's gauges.
pub(crate) type SharedSlots = Arc<Mutex<SlotTable>>;

/// The single writer of snapshots.
#[derive(Debug)]
pub struct Publisher {
    env: Env,
    meters: Arc<Meters>,
    board: Arc<Board>,
    inflow: Inflow,
    orders: mpsc::Receiver<Order>,
    fold: Fold,
    numbers: Numbers,
    /// Guards the map from addresses to slots; held for no await.
    slots: SharedSlots,
    dice: Dice,
    compiled: Arc<Compiled>,
    clusters: Vec<Arc<Cluster>>,
    automatic: Sharded<Cluster>,
    /// Which clusters a service is in.
    users: HashMap<ServiceKey, Vec<usize>>,
    /// Instances that are gone and whose slots wait for their last request.
    departed: BTreeSet<Departed>,
    view: View,
}

impl Publisher {
    /// A publisher of that plan, whose first snapshot is already visible.
    #[must_use]
    pub fn new(parts: Parts, plan: &Arc<Plan>) -> (Self, View, Plans) {
        let Parts {
            env,
            meters,
            board,
            inflow,
            revision,
        } = parts;
        let clock = RevisionClock::new(revision);
        let slots = SharedSlots::default();
        let mut fold = Fold::new(plan.guard, clock, env.now());
        let evidence = WorkersEvidence::new(Arc::clone(&board), Arc::clone(&slots), env.clone());
        fold.set_evidence(Arc::new(evidence));
        let mut numbers = Numbers::default();
        let mut compiling = Compiler {
            env: &env,
            meters: &meters,
            numbers: &mut numbers,
        };
        let compiled = Arc::new(compiling.compile(Arc::clone(plan)));
        let first = Snapshot {
            catalog: fold.catalog(),
            compiled: Arc::clone(&compiled),
            clusters: Vec::new(),
            automatic: Sharded::default(),
        };
        let view = View::new(first, board.workers(), Arc::clone(&slots));
        let (sender, orders) = mpsc::channel(PLANS_MAX);
        let mut publisher = Self {
            dice: env.dice(),
            env,
            meters,
            board,
            inflow,
            orders,
            fold,
            numbers,
            slots,
            compiled,
            clusters: Vec::new(),
            automatic: Sharded::default(),
            users: HashMap::new(),
            departed: BTreeSet::new(),
            view: view.clone(),
        };
        publisher.put_plan_in_force(plan);
        publisher.publish(Vec::new());
        (publisher, view, Plans(sender))
    }

    /// The slots, for the witness.
    pub(crate) fn slots(&self) -> SharedSlots {
        Arc::clone(&self.slots)
    }

    /// Publishes until all inboxes and plan givers are gone.
    #[must_use]
    pub fn run(self) -> Running {
        Box::pin(self.work())
    }

    async fn work(mut self) {
        let mut published_at: Option<Instant> = None;
        loop {
            let wake = self.fold.next_deadline().map(|at| at.since(self.env.now()));
            let deadline = self.env.instant() + wake.unwrap_or(Duration::from_hours(1));
            tokio::select! {
                batch = self.inflow.batch(BATCH_MAX) => {
                    if batch.is_empty() {
                        return;
                    }
                    let batch = self.gather(batch, published_at).await;
                    self.take_in(batch);
                }
                Some(order) = self.orders.recv() => {
                    let changed = self.take_plan(&order.plan);
                    self.publish(changed);
                    // Who asked may have gone away.
                    let _asked = order.done.send(self.view.snapshot().revision());
                }
                () = self.env.sleep_until(deadline) => {
                    let applied = self.fold.tick(self.env.now());
                    self.rebuild(&applied.changed);
                    self.publish(applied.changed);
                }
            }
            published_at = Some(self.env.instant());
        }
    }

    /// Soon after a publication, waits for more to publish together.
    async fn gather(&mut self, mut batch: Vec<Arrival>, last: Option<Instant>) -> Vec<Arrival> {
        let Some(last) = last else { return batch };
        let until = last + COALESCE;
        while self.env.instant() < until && batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            let more = tokio::select! {
                more = self.inflow.batch(room) => more,
                () = self.env.sleep_until(until) => break,
            };
            if more.is_empty() {
                break;
            }
            batch.extend(more);
        }
        batch
    }

    fn take_in(&mut self, batch: Vec<Arrival>) {
        let now = self.env.now();
        let mut changed = BTreeSet::new();
        let mut waiting = Vec::new();
        for Arrival { saying, done } in batch {
            let Applied {
                revision,
                changed: services,
                ..
            } = self.fold.apply(now, saying);
            changed.extend(services);
            waiting.extend(done.map(|done| (done, revision)));
        }
        let changed: Vec<ServiceKey> = changed.into_iter().collect();
        self.rebuild(&changed);
        self.publish(changed);
        for (done, revision) in waiting {
            // Who asked may have gone away.
            let _asked = done.send(revision);
        }
    }

    /// Puts another plan in force; the answer is which services changed by it.
    fn take_plan(&mut self, plan: &Arc<Plan>) -> Vec<ServiceKey> {
        self.fold.set_guard(plan.guard);
        let mut compiler = Compiler {
            env: &self.env,
            meters: &self.meters,
            numbers: &mut self.numbers,
        };
        self.compiled = Arc::new(compiler.compile(Arc::clone(plan)));
        self.put_plan_in_force(plan)
    }

    fn put_plan_in_force(&mut self, plan: &Plan) -> Vec<ServiceKey> {
        let now = self.env.now();
        let source = SourceId::new(FIXED_SOURCE);
        let order: Vec<SourceId> = [SourceId::new("registry"), source.clone()]
            .into_iter()
            .chain(plan.sources.iter().map(|planned| planned.id.clone()))
            .collect();
        let mut changed: BTreeSet<_> = self.fold.arrange(now, &order).changed.into_iter().collect();
        // What the configuration no longer names goes at once.
        for news in [News::Replaced, News::Said(fixed_instances(plan, &source))] {
            let saying = Saying {
                source: source.clone(),
                actor: None,
                news,
            };
            changed.extend(self.fold.apply(now, saying).changed);
        }
        self.note_departures(changed.iter());
        self.rebuild_all();
        changed.into_iter().collect()
    }

    /// Builds every cluster anew, after the plan changed.
    fn rebuild_all(&mut self) {
        let catalog = self.fold.catalog();
        let compiled = Arc::clone(&self.compiled);
        let slots = &mut *self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = self.board.workers();
        let mut builder = Builder {
            slots,
            dice: &mut self.dice,
            workers,
        };
        let build = |template| Arc::new(builder.cluster(template, &catalog));
        self.clusters = compiled.templates.iter().map(build).collect();
        self.users.clear();
        for (place, template) in compiled.templates.iter().enumerate() {
            for service in &template.services {
                self.users.entry(service.clone()).or_default().push(place);
            }
        }
        self.automatic = Sharded::default();
        if let Some(automatic) = &compiled.automatic {
            for service in catalog
                .services()
                .filter(|service| is_automatic(&service.key))
            {
                let row = self.meters.row(&service.key);
                let cluster = builder.automatic(&automatic.template, service, row);
                self.automatic.set(&service.key, Some(cluster));
            }
        }
    }

    /// Builds the clusters of those services anew.
    fn rebuild(&mut self, changed: &[ServiceKey]) {
        self.note_departures(changed.iter());
        let compiled = Arc::clone(&self.compiled);
        let slots = &mut *self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = self.board.workers();
        let mut builder = Builder {
            slots,
            dice: &mut self.dice,
            workers,
        };
        let places: BTreeSet<usize> = changed
            .iter()
            .filter_map(|key| self.users.get(key))
            .flatten()
            .copied()
            .collect();
        // Most services are in none.
        let catalog = (!places.is_empty()).then(|| self.fold.catalog());
        for (place, catalog) in places.into_iter().zip(catalog.iter().cycle()) {
            if let Some(cluster) = self.clusters.get_mut(place) {
                *cluster = Arc::new(builder.cluster(&compiled.templates[place], catalog));
            }
        }
        let Some(automatic) = &compiled.automatic else {
            return;
        };
        for key in changed.iter().filter(|key| is_automatic(key)) {
            let cluster = self.fold.service(key).map(|service| {
                let row = self.meters.row(key);
                builder.automatic(&automatic.template, service, row)
            });
            if cluster.is_none() {
                self.meters.release(key);
            }
            self.automatic.set(key, cluster);
        }
    }

    fn publish(&mut self, changed: Vec<ServiceKey>) {
        let snapshot = Snapshot {
            catalog: self.fold.catalog(),
            compiled: Arc::clone(&self.compiled),
            clusters: self.clusters.clone(),
            automatic: self.automatic.clone(),
        };
        self.release_slots();
        self.view.publish(snapshot, changed);
    }
}

/// Services that the built-in lane serves: those in the default namespace.
fn is_automatic(key: &ServiceKey) -> bool {
    key.namespace.as_str() == ServiceKey::DEFAULT_NAMESPACE
}
