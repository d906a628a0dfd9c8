//! Discovery on the virtual clock, with a source made of paper.

use std::{
    any::Any,
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use portolan_catalog::{Inbox, Source as Behaviour, SourceRun, SourceSpec};
use portolan_model::{
    Change, Departure, Health, Instance, InstanceId, Name, NamedPort, ServiceKey, SourceId, State,
    Weight,
};
use portolan_runtime::Env;
use portolan_testkit::Scratch;
use tokio::sync::mpsc;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A source that says what the test says.
#[derive(Clone, Debug)]
struct Paper(Arc<Mutex<Option<mpsc::UnboundedReceiver<Change>>>>);

impl SourceSpec for Paper {
    fn build(&self, _id: &SourceId, _env: &Env) -> Box<dyn Behaviour> {
        Box::new(self.clone())
    }

    fn same_as(&self, other: &dyn SourceSpec) -> bool {
        (other as &dyn Any).is::<Self>()
    }
}

impl Behaviour for Paper {
    fn run(self: Box<Self>, inbox: Inbox) -> SourceRun {
        let script = self.0.lock().unwrap().take();
        Box::pin(async move {
            let mut script = script.expect("a source runs once");
            while let Some(change) = script.recv().await {
                inbox.send(change).await.expect("the inbox is open");
            }
            std::future::pending::<()>().await;
        })
    }
}

struct World {
    env: Env,
    discovery: Discovery,
    says: mpsc::UnboundedSender<Change>,
}

impl World {
    fn new(builder: DiscoveryBuilder) -> Self {
        let env = Env::virtual_time(1);
        let (says, script) = mpsc::unbounded_channel();
        let spec: Arc<dyn SourceSpec> = Arc::new(Paper(Arc::new(Mutex::new(Some(script)))));
        let discovery = builder
            .follow(vec![(SourceId::new("paper"), spec)], &env)
            .unwrap();
        Self {
            env,
            discovery,
            says,
        }
    }

    /// A world in which these are all instances of `orders`.
    async fn of(instances: Vec<Instance>) -> Self {
        let world = Self::new(Discovery::builder());
        world.reset(instances);
        assert_eq!(world.discovery.ready(SECOND).await, Ok(Ready::Live));
        world
    }

    fn reset(&self, instances: Vec<Instance>) {
        let instances = instances.into_iter().map(Arc::new).collect();
        self.say(Change::Reset {
            services: Vec::new(),
            instances,
        });
    }

    fn say(&self, change: Change) {
        self.says.send(change).unwrap();
    }

    fn orders(&self) -> Service {
        self.discovery.service("orders").unwrap()
    }

    async fn settle(&self) {
        self.env.sleep(Duration::from_millis(1)).await;
    }
}

pub(super) fn instance(id: &str) -> Instance {
    let port = 9000 + u16::from(*id.as_bytes().last().unwrap());
    Instance {
        key: ServiceKey::parse("orders").unwrap(),
        id: InstanceId::parse(id).unwrap(),
        endpoints: Box::new([NamedPort {
            name: Name::parse("default").unwrap(),
            address: ([127, 0, 0, 1], port).into(),
        }]),
        zone: None,
        version: None,
        weight: Weight::NORMAL,
        tags: Box::default(),
        metadata: BTreeMap::new(),
        source: SourceId::new("paper"),
        state: State::default(),
    }
}

fn in_zone(id: &str, zone: &str) -> Instance {
    let zone = Some(zone.into());
    Instance {
        zone,
        ..instance(id)
    }
}

fn ids(instances: &[Arc<Instance>]) -> Vec<&str> {
    instances.iter().map(|one| one.id.as_str()).collect()
}

fn id(picked: &Picked) -> String {
    picked.instance().id.to_string()
}

fn remove(id: &str) -> Change {
    Change::Remove {
        key: ServiceKey::parse("orders").unwrap(),
        id: InstanceId::parse(id).unwrap(),
        departure: Departure::Explicit,
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_answers_what_is_known_at_the_moment() {
    let world = World::of(vec![instance("a"), instance("b")]).await;
    let orders = world.orders();
    assert_eq!(ids(&orders.instances()), ["a", "b"]);
    world.say(remove("a"));
    let mut sick = instance("c");
    sick.state.health = Health::Critical;
    world.say(Change::Put {
        instance: Arc::new(sick),
    });
    world.settle().await;
    assert_eq!(ids(&orders.instances()), ["b"]);
    assert_eq!(ids(&orders.known()), ["b", "c"]);
    assert_eq!(id(&orders.pick().unwrap()), "b");
    assert_eq!(world.discovery.services(), [orders.key().clone()]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_shows_changes_of_its_service_only() {
    let world = World::of(vec![instance("a")]).await;
    let mut watch = world.orders().watch();
    assert_eq!(ids(&watch.changed().await.unwrap()), ["a"]);
    let mut other = instance("x");
    other.key = ServiceKey::parse("shop/users").unwrap();
    world.say(Change::Put {
        instance: Arc::new(other),
    });
    let quiet = world.env.timeout(SECOND, watch.changed()).await;
    assert!(quiet.is_err());
    world.say(remove("a"));
    assert!(watch.changed().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_to_pick_is_explained() {
    let mut sick = instance("a");
    sick.state.health = Health::Critical;
    let world = World::of(vec![sick]).await;
    let told = |service: Service| service.pick().unwrap_err().to_string();
    let orders = world.orders();
    assert!(told(orders.clone()).contains("its health is critical"));
    assert!(told(orders.subset("env", "prod")).contains("no such instance"));
    let unknown = world.discovery.service("nobody").unwrap();
    assert!(told(unknown).contains("`nobody` is unknown"));
    let port = World::of(vec![instance("a")]).await.orders().port("grpc");
    assert!(told(port.unwrap()).contains("no port of that name"));
    assert!(world.discovery.service("or ders").is_err());
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_could_not_be_reached_gets_no_calls_for_a_while() {
    let world = World::of(vec![instance("a"), instance("b")]).await;
    let orders = world.orders().balancing(Balancing::RoundRobin);
    let out = orders.pick().unwrap();
    out.failed(Failure::Unreachable);
    for _ in 0..50 {
        assert_ne!(id(&orders.pick().unwrap()), id(&out));
    }
    world.env.sleep(SECOND).await;
    let mut picks = (0..50).map(|_| id(&orders.pick().unwrap()));
    assert!(picks.any(|picked| picked == id(&out)));
}

#[tokio::test(start_paused = true)]
async fn one_call_finds_out_whether_an_instance_is_back() {
    let world = World::of(vec![instance("a"), instance("b")]).await;
    let orders = world.orders().balancing(Balancing::RoundRobin);
    let there = |picks: &mut Vec<Picked>| {
        let picked = (0..50).map(|_| orders.pick().unwrap());
        picks.extend(picked.filter(|one| id(one) == "a"));
        picks.len()
    };
    // Many at once find it gone; that is once.
    let mut burst = Vec::new();
    assert_eq!(there(&mut burst), 25);
    for one in &burst {
        one.failed(Failure::Unreachable);
    }
    world.env.sleep(SECOND).await;
    let mut probes = Vec::new();
    assert_eq!(there(&mut probes), 1);
    // Whatever it fails of, it is not back.
    probes.pop().unwrap().failed(Failure::Failed);
    world.env.sleep(Duration::from_millis(1999)).await;
    assert_eq!(there(&mut probes), 0);
    world.env.sleep(Duration::from_millis(1)).await;
    assert_eq!(there(&mut probes), 1);
    probes.pop().unwrap().succeeded(Duration::from_millis(1));
    assert_eq!(there(&mut probes), 25);
}

#[tokio::test(start_paused = true)]
async fn tries_that_reached_nobody_cost_no_budget() {
    let retries = Retries {
        budget_per_second: 0,
        budget_percent: 0,
        ..Retries::default()
    };
    let world = World::new(Discovery::builder().retries(retries));
    world.reset(["a", "b", "c"].map(instance).to_vec());
    world.settle().await;
    let orders = world.orders();
    for _ in 0..20 {
        let mut attempts = orders.attempts();
        for _ in 0..2 {
            let picked = attempts.pick().await.unwrap();
            picked.failed(Failure::Unreachable);
            picked.failed(Failure::Unreachable);
        }
        attempts.pick().await.unwrap().failed(Failure::Failed);
    }
    // What is not tried again is nobody else's.
    for _ in 0..20 {
        let mut attempts = orders.attempts();
        let picked = attempts.pick().await.unwrap();
        picked.failed(Failure::Unreachable);
    }
    // One that reached somebody does; nothing was saved up.
    let mut attempts = orders.attempts();
    attempts.pick().await.unwrap().failed(Failure::Failed);
    let service = orders.key().clone();
    let end = attempts.pick().await.unwrap_err();
    assert_eq!(end, PickError::Budget { service });
}

#[tokio::test(start_paused = true)]
async fn a_try_that_is_not_paid_for_finds_out_nothing() {
    let retries = Retries {
        budget_per_second: 0,
        budget_percent: 0,
        ..Retries::default()
    };
    let world = World::new(Discovery::builder().retries(retries));
    world.reset(["a", "b"].map(instance).to_vec());
    world.settle().await;
    let orders = world.orders().balancing(Balancing::RoundRobin);
    let pick = |wanted: &str| {
        let mut picks = std::iter::repeat_with(|| orders.pick().unwrap());
        picks.find(|one| id(one) == wanted).unwrap()
    };
    let mut attempts = orders.attempts();
    let first = attempts.pick().await.unwrap();
    first.failed(Failure::Failed);
    let other = if id(&first) == "a" { "b" } else { "a" };
    pick(other).failed(Failure::Unreachable);
    world.env.sleep(SECOND).await;
    let end = attempts.pick().await.unwrap_err();
    assert!(matches!(end, PickError::Budget { .. }), "{end}");
    assert!((0..10).any(|_| id(&orders.pick().unwrap()) == other));
}

#[tokio::test(start_paused = true)]
async fn five_failures_in_a_row_are_too_many_and_a_success_forgives() {
    let world = World::of(vec![instance("a"), instance("b")]).await;
    let orders = world.orders().balancing(Balancing::RoundRobin);
    let sick = orders.pick().unwrap();
    let goes_there = || (0..100).any(|_| id(&orders.pick().unwrap()) == id(&sick));
    for _ in 0..4 {
        sick.failed(Failure::Failed);
    }
    assert!(goes_there());
    sick.succeeded(Duration::from_millis(1));
    for _ in 0..4 {
        sick.failed(Failure::Failed);
    }
    assert!(goes_there());
    sick.failed(Failure::Failed);
    assert!(!goes_there());
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_given_up_is_slow_and_after_a_second_failed() {
    let world = World::of(vec![instance("a"), instance("b")]).await;
    let orders = world.orders().balancing(Balancing::RoundRobin);
    let goes_to = |sick: &str| (0..50).any(|_| id(&orders.pick().unwrap()) == sick);
    let give_up = async |after: Duration| {
        for _ in 0..5 {
            let picked = std::iter::repeat_with(|| orders.pick().unwrap());
            let picked = picked.into_iter().find(|one| id(one) == "a").unwrap();
            world.env.sleep(after).await;
            drop(picked);
        }
    };
    give_up(Duration::from_millis(998)).await;
    assert!(goes_to("a"));
    // Two of three of the fast, and of what is at least as slow as its silence nearly none.
    let by_latency = world.orders();
    for _ in 0..20 {
        let picked = orders.pick().unwrap();
        match id(&picked).as_str() {
            "b" => picked.succeeded(Duration::from_millis(1)),
            _ => picked.withdraw(),
        }
    }
    let slow = (0..100).filter(|_| id(&by_latency.pick().unwrap()) == "a");
    assert!(slow.count() < 20);
    give_up(SECOND).await;
    assert!(!goes_to("a"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_began_well_and_is_dropped_forgives() {
    let world = World::of(vec![instance("a")]).await;
    let orders = world.orders();
    for _ in 0..4 {
        orders.pick().unwrap().failed(Failure::Failed);
    }
    assert_eq!(orders.entry.books().failures.len(), 1);
    let picked = orders.pick().unwrap();
    picked.answered();
    assert_eq!(orders.entry.books().failures.len(), 1);
    drop(picked);
    assert!(orders.entry.books().failures.is_empty());
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_are_counted_until_their_pick_is_dropped() {
    let world = World::of(vec![instance("a")]).await;
    let orders = world.orders();
    let (first, second) = (orders.pick().unwrap(), orders.pick().unwrap());
    let slot = first.endpoint().slot;
    let count = || world.discovery.0.gauges.board().in_flight(slot);
    assert_eq!(count(), 2);
    drop(second);
    assert_eq!(count(), 1);
    // The slot of an instance that is gone is its own until the last call has ended.
    world.say(remove("a"));
    world.settle().await;
    let address = first.address();
    let find = || {
        let slots = world.discovery.0.slots.lock().unwrap();
        slots.find(orders.key(), &InstanceId::parse("a").unwrap(), address)
    };
    assert_eq!(find(), Some(slot));
    drop(first);
    world.say(Change::Put {
        instance: Arc::new(instance("b")),
    });
    world.settle().await;
    assert_eq!(find(), None);
}

#[tokio::test(start_paused = true)]
async fn the_own_zone_is_preferred_while_one_of_it_answers() {
    let world = World::of(vec![
        in_zone("a", "eu-1"),
        in_zone("b", "eu-2"),
        in_zone("c", "eu-2"),
    ])
    .await;
    let near = world.orders().zone("eu-1");
    for _ in 0..20 {
        assert_eq!(id(&near.pick().unwrap()), "a");
    }
    let mut attempts = near.attempts();
    let first = attempts.pick().await.unwrap();
    first.failed(Failure::Unreachable);
    assert_ne!(id(&attempts.pick().await.unwrap()), "a");
    assert_ne!(id(&near.pick().unwrap()), "a");
    assert_eq!(world.orders().zone("mars").instances().len(), 3);
    assert!(world.orders().zone("mars").pick().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_subset_and_a_sticky_key_narrow_the_choice() {
    let labelled = |id: &str, env: &str| {
        let mut instance = instance(id);
        instance.metadata.insert("env".into(), env.into());
        instance
    };
    let world = World::of(vec![
        labelled("a", "prod"),
        labelled("b", "test"),
        labelled("c", "prod"),
    ])
    .await;
    let prod = world.orders().subset("env", "prod");
    assert_eq!(ids(&prod.instances()), ["a", "c"]);
    let first = id(&prod.pick_for("customer 7").unwrap());
    for _ in 0..20 {
        assert_eq!(id(&prod.pick_for("customer 7").unwrap()), first);
    }
    let mut attempts = prod.attempts_for("customer 7");
    assert_eq!(id(&attempts.pick().await.unwrap()), first);
    assert_ne!(id(&attempts.pick().await.unwrap()), first);
    let keys = (0..50_u8).map(|key| id(&prod.pick_for([key]).unwrap()));
    assert!(keys.into_iter().any(|picked| picked != first));
}

#[tokio::test(start_paused = true)]
async fn a_call_is_tried_at_every_instance_once_and_pauses_grow() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let world = World::of(names.map(instance).to_vec()).await;
    let mut attempts = world.orders().attempts();
    let (mut seen, mut waits) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let before = world.env.instant();
        seen.push(id(&attempts.pick().await.unwrap()));
        waits.push((world.env.instant() - before).as_millis());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5);
    // The clock of tokio counts whole milliseconds.
    for (wait, (least, most)) in waits
        .iter()
        .zip([(0, 0), (0, 0), (5, 11), (10, 21), (20, 41)])
    {
        assert!((least..=most).contains(wait), "{waits:?}");
    }
    let service = world.orders().key().clone();
    let end = attempts.pick().await.unwrap_err();
    let attempts = 5;
    assert_eq!(end, PickError::Attempts { service, attempts });
}

#[tokio::test(start_paused = true)]
async fn retries_end_with_the_instances_and_with_the_budget() {
    let world = World::of(vec![instance("a"), instance("b")]).await;
    let orders = world.orders();
    let mut attempts = orders.attempts();
    let _first = attempts.pick().await.unwrap();
    let _second = attempts.pick().await.unwrap();
    let service = orders.key().clone();
    let end = attempts.pick().await.unwrap_err();
    assert_eq!(end, PickError::Tried { service, tried: 2 });
    let mut granted = 0;
    for _ in 0..100 {
        let mut attempts = orders.attempts();
        let _first = attempts.pick().await.unwrap();
        match attempts.pick().await {
            Ok(_) => granted += 1,
            Err(end) => assert!(matches!(end, PickError::Budget { .. }), "{end}"),
        }
    }
    // 9 that were left of the first second's worth, and one in five calls; at one instant.
    assert!((27..=30).contains(&granted), "{granted}");
    world.env.sleep(SECOND).await;
    let mut attempts = orders.attempts();
    let _first = attempts.pick().await.unwrap();
    assert!(attempts.pick().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_was_known_stays_when_the_source_is_lost() {
    let world = World::of(vec![instance("a")]).await;
    world.say(Change::Stale {
        reason: "no connection".into(),
    });
    world.settle().await;
    let orders = world.orders();
    assert_eq!(id(&orders.pick().unwrap()), "a");
    assert!(orders.known()[0].state.stale);
    assert_eq!(world.discovery.ready(SECOND).await, Ok(Ready::Remembered));
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_held_whoever_sets_the_clock() {
    const DAY: Duration = Duration::from_hours(24);
    let four = || ["a", "b", "c", "d"].map(instance).to_vec();
    let minutes = |count| Duration::from_mins(count);
    for is_forward in [true, false] {
        let world = World::of(four()).await;
        // A registry that has forgotten most is not believed at once.
        world.reset(vec![instance("d")]);
        world.settle().await;
        assert_eq!(world.orders().instances().len(), 4);
        let now = world.env.now();
        let (later, earlier) = (now.after(DAY), now.as_millis() - 86_400_000);
        world.env.set_wall_clock(if is_forward {
            later
        } else {
            portolan_model::Timestamp::from_millis(earlier)
        });
        world.env.sleep(minutes(4)).await;
        world.say(Change::Put {
            instance: Arc::new(instance("d")),
        });
        world.settle().await;
        assert_eq!(world.orders().instances().len(), 4, "{is_forward}");
        world.env.sleep(minutes(2)).await;
        assert_eq!(ids(&world.orders().instances()), ["d"], "{is_forward}");
    }
}

#[tokio::test(start_paused = true)]
async fn not_ready_says_who_and_why() {
    let world = World::new(Discovery::builder());
    let told = world.discovery.ready(SECOND).await.unwrap_err().to_string();
    let expected = "not discovered within 1000 ms: source `paper` has not answered yet";
    assert_eq!(told, expected);
    world.say(Change::Stale {
        reason: "no connection to 127.0.0.1:1".into(),
    });
    let told = world.discovery.ready(SECOND).await.unwrap_err().to_string();
    assert!(
        told.ends_with("source `paper`: no connection to 127.0.0.1:1"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_program_starts_with_what_an_earlier_run_knew() {
    let scratch = Scratch::new();
    let file = scratch.path().join("services.json");
    let world = World::new(Discovery::builder().remember(&file));
    world.reset(vec![instance("a"), instance("b")]);
    world.discovery.ready(SECOND).await.unwrap();
    world.env.sleep(2 * SECOND).await;
    drop(world);

    let world = World::new(Discovery::builder().remember(&file));
    // Nobody knows yet whether the source will answer.
    assert!(world.discovery.ready(SECOND).await.is_err());
    assert_eq!(ids(&world.orders().instances()), ["a", "b"]);
    world.say(Change::Stale {
        reason: "no connection".into(),
    });
    assert_eq!(world.discovery.ready(SECOND).await, Ok(Ready::Remembered));
    assert!(world.orders().known().iter().all(|one| one.state.stale));
    world.reset(vec![instance("a"), instance("b")]);
    world.settle().await;
    assert_eq!(world.discovery.ready(SECOND).await, Ok(Ready::Live));
    assert!(world.orders().known().iter().all(|one| !one.state.stale));
}

#[tokio::test(start_paused = true)]
async fn a_memory_that_could_not_be_written_is_written_later() {
    let scratch = Scratch::new();
    let folder = scratch.path().join("later");
    let file = folder.join("services.json");
    let world = World::new(Discovery::builder().remember(&file));
    world.reset(vec![instance("a")]);
    world.env.sleep(5 * SECOND).await;
    std::fs::create_dir(&folder).unwrap();
    world.env.sleep(60 * SECOND).await;
    assert!(std::fs::read_to_string(&file).unwrap().contains("orders"));
    let names = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(names, 1);
}

#[tokio::test(start_paused = true)]
async fn a_memory_that_is_broken_or_of_another_version_is_passed_over() {
    let scratch = Scratch::new();
    let file = scratch.path().join("services.json");
    for text in [
        "",
        "{",
        "[]",
        r#"{"version":2}"#,
        r#"{"version":1,"instances":[{}]}"#,
    ] {
        std::fs::write(&file, text).unwrap();
        let world = World::new(Discovery::builder().remember(&file));
        world.settle().await;
        assert!(world.discovery.services().is_empty(), "{text}");
    }
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let fault = |builder: DiscoveryBuilder| builder.start().unwrap_err().to_string();
    let start = Discovery::builder;
    assert!(fault(start().registry("ftp://a")).contains("source `portolan`: /urls"));
    assert!(fault(start().namespace("a b")).contains("namespace"));
    let told = fault(start().source(Source::new("carrier-pigeon")));
    assert!(
        told.contains("no source of kind `carrier-pigeon`") && told.contains("consul"),
        "{told}"
    );
    let two = start()
        .source(Source::file("a.yaml"))
        .source(Source::file(""));
    assert!(fault(two).contains("source `file-2`"));
    let many = |count: usize| {
        let file = Source::file("a.yaml");
        (0..count).fold(start(), |all, _| all.source(file.clone()))
    };
    assert!(many(32).start().is_ok());
    assert!(fault(many(33)).contains("33 sources"));
}

#[tokio::test(start_paused = true)]
async fn a_pick_and_its_report_allocate_nothing() {
    let world = World::of(vec![
        in_zone("a", "eu-1"),
        in_zone("b", "eu-2"),
        in_zone("c", "eu-2"),
    ])
    .await;
    let orders = world.orders();
    let kinds = [
        orders.clone(),
        orders.clone().balancing(Balancing::RoundRobin),
        orders.clone().balancing(Balancing::Random),
        orders.clone().zone("eu-1"),
        orders.clone().subset("zone", "eu-2"),
    ];
    let call = |service: &Service| {
        service.pick().unwrap().succeeded(SECOND);
        service.pick_for("a key").unwrap().succeeded(SECOND);
        drop(service.pick().unwrap());
        service.pick().unwrap().failed(Failure::Unreachable);
    };
    for service in &kinds {
        // The first pick makes the pools.
        call(service);
        let counted = allocation_counter::measure(|| (0..100).for_each(|_| call(service)));
        assert_eq!(counted.count_total, 0, "{service:?}");
    }
    for _ in 0..2 {
        let mut attempts = orders.attempts();
        let mut tried = std::pin::pin!(attempts.pick());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let counted = allocation_counter::measure(|| {
            let std::task::Poll::Ready(picked) = tried.as_mut().poll(&mut context) else {
                panic!("the first try waits for nothing");
            };
            picked.unwrap().succeeded(SECOND);
        });
        assert_eq!(counted.count_total, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn handles_are_kept_up_to_their_limit() {
    let world = World::of(vec![instance("a")]).await;
    let count = || world.discovery.0.handles.lock().unwrap().by_key.len();
    let ask = |names: Range<usize>| {
        for number in names {
            let service = world.discovery.service(&format!("s{number}")).unwrap();
            assert!(service.instances().is_empty());
        }
    };
    world.orders().pick().unwrap().failed(Failure::Failed);
    let held = world.discovery.service("held").unwrap();
    ask(2..HANDLES_MAX);
    assert_eq!(count(), HANDLES_MAX);
    // Names that nobody has make room for those that are called.
    ask(HANDLES_MAX..HANDLES_MAX + 1);
    assert_eq!(count(), 3);
    ask(0..3 * HANDLES_MAX);
    assert!(count() <= HANDLES_MAX);
    assert_eq!(world.orders().entry.books().failures.len(), 1);
    let again = world.discovery.service("held").unwrap();
    assert!(Arc::ptr_eq(&again.entry, &held.entry));
}

#[tokio::test(start_paused = true)]
async fn the_handles_that_were_asked_for_last_are_kept() {
    let world = World::new(Discovery::builder());
    let instances = (0..=HANDLES_MAX).map(|number| Instance {
        key: ServiceKey::parse(&format!("s{number}")).unwrap(),
        ..instance("a")
    });
    world.reset(instances.collect());
    world.settle().await;
    let fail = |number: usize| {
        let service = world.discovery.service(&format!("s{number}")).unwrap();
        service.pick().unwrap().failed(Failure::Failed);
        service.entry.books().failures.values().sum::<u32>()
    };
    for number in 0..HANDLES_MAX {
        assert_eq!(fail(number), 1, "{number}");
    }
    assert_eq!(fail(0), 2);
    assert_eq!(fail(HANDLES_MAX), 1);
    assert_eq!(fail(0), 3);
    assert_eq!(fail(HANDLES_MAX - 1), 2);
    assert_eq!(fail(1), 1);
}
