//! Claims about the publisher: what becomes visible, when, and under which slot.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use portolan_balance::{Board, Slot, WorkerGauges};
use portolan_catalog::{Inbox, InboxHub, Settled, Turn, Witness, inboxes};
use portolan_config::{Outside, Plan, Shelves, read};
use portolan_model::{
    Change, Departure, Instance, InstanceId, Name, NamedPort, Revision, ServiceKey, SourceId,
    State, Weight,
};
use portolan_runtime::{Env, Task};
use portolan_snapshot::{Follower, Parts, Plans, Publisher, Snapshot, View, WorkersWitness};
use portolan_telemetry::Meters;

struct World {
    env: Env,
    view: View,
    plans: Plans,
    board: Arc<Board>,
    inbox: Inbox,
    witness: WorkersWitness,
    _hub: InboxHub,
    _publisher: Task,
}

fn plan(text: &str) -> Arc<Plan> {
    let outside = Outside {
        shelves: Shelves {
            policies: &[],
            sources: &[],
            balancers: portolan_balance::KINDS,
        },
        folder: Path::new(""),
        ..Outside::default()
    };
    Arc::new(read("test.yaml", text, &outside).unwrap())
}

const AUTOMATIC: &str = "listeners: {web: {address: 127.0.0.1:0}}";
const ROUTED: &str = "
listeners: {web: {address: 127.0.0.1:0}}
routes: {all: {target: orders}}
upstreams: {orders: {service: orders}}
";

fn world(text: &str) -> World {
    let env = Env::virtual_time(1);
    let board = Board::new(1);
    let (mut hub, inflow) = inboxes();
    let inbox = hub.open(&SourceId::new("registry"), Turn::First);
    let parts = Parts {
        env: env.clone(),
        meters: Arc::new(Meters::new(1)),
        board: Arc::clone(&board),
        inflow,
        revision: Revision::FIRST,
    };
    let (publisher, view, plans) = Publisher::new(parts, &plan(text));
    let witness = WorkersWitness::new(&publisher, view.clone(), Arc::clone(&board), env.clone());
    let task = env.spawn("publisher", publisher.run());
    World {
        env,
        view,
        plans,
        board,
        inbox,
        witness,
        _hub: hub,
        _publisher: task,
    }
}

fn key() -> ServiceKey {
    ServiceKey::parse("orders").unwrap()
}

fn id(name: &str) -> InstanceId {
    InstanceId::parse(name).unwrap()
}

fn instance(name: &str, port: u16, is_leaving: bool) -> Change {
    Change::Put {
        instance: Arc::new(Instance {
            key: key(),
            id: id(name),
            endpoints: Box::new([NamedPort {
                name: Name::parse("default").unwrap(),
                address: ([127, 0, 0, 1], port).into(),
            }]),
            zone: None,
            version: None,
            weight: Weight::NORMAL,
            tags: Box::default(),
            metadata: [].into(),
            source: SourceId::new("registry"),
            state: State {
                leaving: is_leaving,
                ..State::default()
            },
        }),
    }
}

impl World {
    async fn say(&self, change: Change) -> Revision {
        self.inbox.commit(None, change).await.unwrap()
    }

    async fn remove(&self, name: &str) {
        let departure = Departure::Explicit;
        let (key, id) = (key(), id(name));
        self.say(Change::Remove { key, id, departure }).await;
    }

    /// The slots of the service on the built-in lane.
    fn slots(&self) -> Vec<Slot> {
        let snapshot = self.view.snapshot();
        let endpoints = &snapshot.automatic(&key()).unwrap().pool.endpoints;
        endpoints.iter().map(|endpoint| endpoint.slot).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_has_the_revision_of_a_write_finds_it_visible() {
    let world = world(AUTOMATIC);
    let revision = world.say(instance("a", 9001, false)).await;
    assert!(world.view.snapshot().revision() >= revision);
    assert_eq!(world.slots().len(), 1);
    world.say(instance("b", 9002, true)).await;
    assert_eq!(world.slots().len(), 1, "who leaves is not picked");
}

/// Notes what it is given, and what readers saw at the time.
#[derive(Debug)]
struct Notes {
    view: View,
    list: Mutex<Vec<(usize, Revision, Revision)>>,
}

impl Follower for Notes {
    fn begin(&self, snapshot: &Snapshot) {
        self.take_in(snapshot, &[]);
    }

    fn take_in(&self, snapshot: &Snapshot, changed: &[ServiceKey]) {
        let seen = self.view.snapshot().revision();
        let note = (changed.len(), snapshot.revision(), seen);
        self.list.lock().unwrap().push(note);
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_has_each_snapshot_before_readers_and_writers_have() {
    let world = world(AUTOMATIC);
    let first = world.say(instance("a", 9001, false)).await;
    let notes = Arc::new(Notes {
        view: world.view.clone(),
        list: Mutex::default(),
    });
    let follower: Arc<dyn Follower> = Arc::<Notes>::clone(&notes);
    world.view.attach(&follower);
    let second = world.say(instance("b", 9002, false)).await;
    let told = notes.list.lock().unwrap().clone();
    assert_eq!(told, [(0, first, first), (1, second, first)]);
    // Nobody keeps it any longer.
    drop((follower, notes));
    world.say(instance("c", 9003, false)).await;
}

/// Has a defect.
#[derive(Debug)]
struct Defect;

impl Follower for Defect {
    fn begin(&self, _snapshot: &Snapshot) {}

    fn take_in(&self, _snapshot: &Snapshot, _changed: &[ServiceKey]) {
        panic!("a defect");
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_panics_costs_nobody_else_a_snapshot() {
    let world = world(AUTOMATIC);
    let notes = Arc::new(Notes {
        view: world.view.clone(),
        list: Mutex::default(),
    });
    let defect: Arc<dyn Follower> = Arc::new(Defect);
    let follower: Arc<dyn Follower> = Arc::<Notes>::clone(&notes);
    world.view.attach(&defect);
    world.view.attach(&follower);
    world.say(instance("a", 9001, false)).await;
    assert_eq!(Arc::weak_count(&defect), 0, "it is not told again");
    let second = world.say(instance("b", 9002, false)).await;
    assert_eq!(world.view.snapshot().revision(), second);
    assert_eq!(notes.list.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn clusters_of_a_plan_follow_the_catalogue_and_the_plan() {
    let world = world(ROUTED);
    let open = |world: &World| world.view.snapshot().clusters[0].pool.endpoints.len();
    assert_eq!(open(&world), 0);
    assert!(!world.view.snapshot().clusters[0].is_known);
    world.say(instance("a", 9001, false)).await;
    assert_eq!(open(&world), 1);
    assert!(world.view.snapshot().automatic(&key()).is_none());
    let before = world.view.snapshot();
    world.plans.apply(plan(AUTOMATIC)).await.unwrap();
    assert!(world.view.snapshot().clusters.is_empty());
    assert_eq!(world.slots().len(), 1);
    assert_eq!(before.clusters.len(), 1, "a snapshot never changes");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_comes_back_is_somebody_else() {
    let world = world(AUTOMATIC);
    world.say(instance("a", 9001, false)).await;
    let first = world.slots();
    world.remove("a").await;
    world.say(instance("a", 9001, false)).await;
    assert_ne!(
        world.slots(),
        first,
        "its connections are not its predecessor's"
    );
    let second = world.slots();
    world.say(instance("a", 9001, false)).await;
    assert_eq!(world.slots(), second);
}

#[tokio::test(start_paused = true)]
async fn requests_to_a_predecessor_stay_counted() {
    let world = world(AUTOMATIC);
    let gauges = WorkerGauges::new(Arc::clone(&world.board), 0);
    world.say(instance("a", 9001, false)).await;
    let first = world.slots();
    let in_flight = gauges.begin(first[0]);
    world.remove("a").await;
    world.say(instance("a", 9001, false)).await;
    assert_eq!(world.slots(), first);
    let revision = world.say(instance("a", 9001, true)).await;
    let (key, id) = (key(), id("a"));
    let soon = Duration::from_millis(50);
    let settled = world.witness.settled(&key, &id, revision, soon).await;
    assert_eq!(settled, Settled::Deadline { in_flight: 1 });
    drop(in_flight);
    let settled = world.witness.settled(&key, &id, revision, soon).await;
    assert_eq!(settled, Settled::Idle);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_workers_that_hold_an_older_snapshot() {
    let world = world(AUTOMATIC);
    let worker = world.view.worker(0);
    world.say(instance("a", 9001, false)).await;
    drop(worker.pin());
    let revision = world.say(instance("a", 9001, true)).await;
    let passed = world.view.passed(revision);
    let soon = Duration::from_millis(50);
    assert!(world.env.timeout(soon, passed).await.is_err());
    drop(worker.pin());
    assert!(
        world
            .env
            .timeout(soon, world.view.passed(revision))
            .await
            .is_ok()
    );
}
