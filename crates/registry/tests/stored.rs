//! Registrations that outlive the process.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

mod common;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use common::World;
use portolan_catalog::Turn;
use portolan_model::{Change, Revision, ServiceKey, SourceId, Verdict};
use portolan_registry::{
    RegistryError, Stored,
    check::{self, Bench, Errand, Errands, Hearing, Prober, Probing},
    core::Subject,
};
use portolan_runtime::Env;
use portolan_store::{Batch, Condition, FactKey, Facts, JournalLine, Later, Loaded, StoreError};
use serde_json::json;
use tokio::sync::watch;

const A: &str = "/v1/services/orders/instances/a";

/// A store in memory whose disk can be full.
#[derive(Debug)]
struct Shelf {
    facts: Mutex<BTreeMap<FactKey, Bytes>>,
    commits: Mutex<usize>,
    reached: Mutex<Revision>,
    condition: watch::Sender<Condition>,
    /// Commits are not done yet, and not answered.
    is_slow: watch::Sender<bool>,
    /// Those that are not done yet.
    queued: Mutex<Vec<Batch>>,
    /// More waits for the disk than it takes.
    is_busy: AtomicBool,
}

/// Whoever is asked to probe or to hear does not.
struct Nobody;

impl Bench for Nobody {
    fn hear<'a>(&'a self, _: &'a Subject, _: SocketAddr, _: Option<Verdict>) -> Hearing<'a> {
        Box::pin(async {})
    }
}

impl Errands for Nobody {
    fn run(&self, _: Errand) -> Probing<'_> {
        Box::pin(std::future::pending())
    }
}

/// A registry over a store, with checks that take reports.
fn reported_to(env: Env, shelf: &Arc<Shelf>) -> World {
    let mut world = World::over(env, Some(shelf.stored()));
    let (checks, wanted) = watch::channel(Arc::from([]));
    let prober = Prober::new(check::Parts {
        env: world.env.clone(),
        registry: world.registry.clone(),
        orders: world.orders.take().unwrap(),
        checks: wanted,
        bench: Arc::new(Nobody),
        errands: Arc::new(Nobody),
        reports: world.reports.take().unwrap(),
    });
    let probing = async move {
        prober.run().await;
        drop(checks);
    };
    let task = world.env.spawn("prober", probing);
    world.keep(task);
    world
}

/// Claims that a call is not answered while others are.
async fn is_held(world: &World, call: impl Future<Output = (u16, serde_json::Value)>) {
    let others = async {
        for _ in 0..20 {
            world.call("GET", "/v1/services", "").await;
        }
    };
    tokio::select! {
        (status, body) = call => panic!("{status}: {body}"),
        () = others => {}
    }
}

impl Shelf {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            facts: Mutex::default(),
            commits: Mutex::default(),
            reached: Mutex::new(Revision::FIRST),
            condition: watch::Sender::new(Condition::Healthy),
            is_slow: watch::Sender::new(false),
            queued: Mutex::default(),
            is_busy: AtomicBool::new(false),
        })
    }

    fn loaded(&self) -> Loaded {
        let facts = self.facts.lock().unwrap();
        Loaded {
            facts: facts.clone().into_iter().collect(),
            journaled: Revision::FIRST,
            revision: *self.reached.lock().unwrap(),
        }
    }

    fn stored(self: &Arc<Self>) -> Stored {
        Stored {
            facts: Arc::clone(self) as _,
            loaded: self.loaded(),
        }
    }

    fn keys(&self) -> Vec<String> {
        let facts = self.facts.lock().unwrap();
        let keys = facts.keys();
        keys.map(|key| format!("{}:{}", key.kind, key.id.as_ref().unwrap()))
            .collect()
    }

    /// Does what was queued, and from now on what comes at once.
    fn be_quick(&self) {
        for batch in self.queued.lock().unwrap().drain(..) {
            self.apply(&batch);
        }
        self.is_slow.send_replace(false);
    }

    fn apply(&self, batch: &Batch) {
        let mut reached = self.reached.lock().unwrap();
        *reached = batch.reached().map_or(*reached, |more| more.max(*reached));
        let mut facts = self.facts.lock().unwrap();
        for (key, value) in batch.changes() {
            match value {
                Some(value) => facts.insert(key.clone(), value.clone()),
                None => facts.remove(key),
            };
        }
    }

    fn commits(&self) -> usize {
        *self.commits.lock().unwrap()
    }
}

impl Facts for Shelf {
    fn commit(&self, batch: Batch) -> Later<()> {
        *self.commits.lock().unwrap() += 1;
        if *self.condition.borrow() != Condition::Healthy {
            let path = "store.redb".into();
            return Box::pin(async move { Err(StoreError::Full { path }) });
        }
        if self.is_busy.load(Ordering::Relaxed) {
            return Box::pin(async { Err(StoreError::Busy { waiting: 1 }) });
        }
        let mut is_slow = self.is_slow.subscribe();
        if *is_slow.borrow() {
            self.queued.lock().unwrap().push(batch);
        } else {
            self.apply(&batch);
        }
        Box::pin(async move {
            let _gone = is_slow.wait_for(|is_slow| !is_slow).await.is_ok();
            Ok(())
        })
    }

    fn load(&self) -> Later<Loaded> {
        let loaded = self.loaded();
        Box::pin(async move {
            // It takes a while.
            for _ in 0..64 {
                tokio::task::yield_now().await;
            }
            Ok(loaded)
        })
    }

    fn journal(&self) -> Later<Vec<JournalLine>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }
}

#[tokio::test]
async fn a_restart_finds_everybody_and_refuses_no_heartbeat() {
    let shelf = Shelf::new();
    let world = World::over(Env::system(), Some(shelf.stored()));
    let body =
        r#"{"port": 9001, "version": "v1", "ttl": "1m", "status": "warning", "note": "slow"}"#;
    world.call("PUT", A, body).await;
    let ruling = r#"{"override": "drain", "reason": "disk swap"}"#;
    world.call("PUT", &format!("{A}/override"), ruling).await;
    let (_, mut before) = world.call("GET", A, "").await;
    drop(world);

    let world = World::over(Env::system(), Some(shelf.stored()));
    let (status, body) = world.call("PUT", &format!("{A}/heartbeat"), "").await;
    assert_eq!((status, &body["ttl"]), (200, &json!("1m")), "{body}");
    let (_, mut after) = world.call("GET", A, "").await;
    // Each has its own heartbeat.
    let confirmed = [&mut before, &mut after].map(|view| view["confirmed_at"].take());
    assert!(
        confirmed.iter().all(serde_json::Value::is_string),
        "{confirmed:?}"
    );
    assert!(before["first_seen"].is_string());
    assert_eq!(after, before);
}

#[tokio::test]
async fn who_left_stays_away_after_a_restart() {
    let shelf = Shelf::new();
    let world = World::over(Env::system(), Some(shelf.stored()));
    world.call("PUT", A, r#"{"port": 9001}"#).await;
    world
        .call("PUT", &format!("{A}/override"), r#"{"weight": 5}"#)
        .await;
    assert_eq!(shelf.keys(), ["lease:a", "ruling:a"]);
    world.call("DELETE", A, "").await;
    world.call("DELETE", &format!("{A}/override"), "").await;
    assert_eq!(shelf.keys(), [""; 0]);
}

#[tokio::test]
async fn a_heartbeat_writes_nothing() {
    let shelf = Shelf::new();
    let world = World::over(Env::system(), Some(shelf.stored()));
    world.call("PUT", A, r#"{"port": 9001}"#).await;
    let commits = shelf.commits();
    for _ in 0..3 {
        world.call("PUT", &format!("{A}/heartbeat"), "").await;
        let beat = r#"{"instances": [{"service": "orders", "id": "a"}]}"#;
        world.call("POST", "/v1/heartbeats", beat).await;
    }
    assert_eq!(shelf.commits(), commits);
}

#[tokio::test]
async fn a_full_disk_is_told_and_made_up_for() {
    let shelf = Shelf::new();
    let world = World::over(Env::system(), Some(shelf.stored()));
    world.call("PUT", A, r#"{"port": 9001}"#).await;
    shelf.condition.send_replace(Condition::Full);
    let b = "/v1/services/orders/instances/b";
    let (status, body) = world.call("PUT", b, r#"{"port": 9002}"#).await;
    assert_eq!((status, &body["cause"]), (507, &json!("store_full")));
    let (status, _) = world.call("DELETE", A, "").await;
    assert_eq!(status, 507);
    let (_, body) = world.call("GET", "/v1/services/orders", "").await;
    assert_eq!(body["members"][0]["id"], "b", "what is in memory goes on");
    assert_eq!(shelf.keys(), ["lease:a"]);

    let commits = shelf.commits();
    shelf.condition.send_replace(Condition::Healthy);
    // The first shows that nothing waits any more, the other is the rewriting.
    while shelf.commits() < commits + 2 {
        world.call("PUT", &format!("{b}/heartbeat"), "").await;
    }
    assert_eq!(shelf.keys(), ["lease:b"]);
}

#[tokio::test]
async fn nobody_has_caught_up_with_what_is_not_stored() {
    let shelf = Shelf::new();
    let world = World::over(Env::system(), Some(shelf.stored()));
    world.registry.caught_up().await.unwrap();
    shelf.condition.send_replace(Condition::Full);
    assert!(world.registry.caught_up().await.is_err());
}

const CHECKED: &str = r#"{"port": 9001, "ttl": "1h", "checks": [{"ttl": "1h"}]}"#;
const WARNING: &str = r#"{"status": "warning", "note": "slow"}"#;

/// Everything by which an instance may say something that is known already.
fn repeated() -> [(&'static str, String, &'static str); 3] {
    [
        ("PUT", format!("{A}/checks/ttl"), WARNING),
        ("PUT", format!("{A}/heartbeat"), WARNING),
        ("PATCH", A.to_owned(), r#"{"weight": 7}"#),
    ]
}

#[tokio::test]
async fn what_is_known_is_acknowledged_once_it_is_stored() {
    for (method, path, body) in repeated() {
        let shelf = Shelf::new();
        let world = reported_to(Env::system(), &shelf);
        assert_eq!(world.call("PUT", A, CHECKED).await.0, 201);
        shelf.is_slow.send_replace(true);
        is_held(&world, world.call(method, &path, body)).await;
        is_held(&world, world.call(method, &path, body)).await;
        // A sign of life says nothing that could be lost.
        let (status, _) = world.call("PUT", &format!("{A}/heartbeat"), "").await;
        assert_eq!(status, 200, "{path}");
        shelf.be_quick();
        assert_eq!(world.call(method, &path, body).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn what_is_known_is_not_acknowledged_if_the_disk_is_full() {
    for (method, path, body) in repeated() {
        let shelf = Shelf::new();
        let world = reported_to(Env::system(), &shelf);
        assert_eq!(world.call("PUT", A, CHECKED).await.0, 201);
        shelf.condition.send_replace(Condition::Full);
        for time in ["first", "second"] {
            let (status, answer) = world.call(method, &path, body).await;
            assert_eq!(
                (status, &answer["cause"]),
                (507, &json!("store_full")),
                "{path}, {time}"
            );
        }
        assert_eq!(
            world.call("PUT", &format!("{A}/heartbeat"), "").await.0,
            200
        );
        shelf.condition.send_replace(Condition::Healthy);
        assert_eq!(world.call(method, &path, body).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn what_is_known_and_stored_writes_nothing() {
    for (method, path, body) in repeated() {
        let shelf = Shelf::new();
        let world = reported_to(Env::system(), &shelf);
        world.call("PUT", A, CHECKED).await;
        for _ in 0..2 {
            assert_eq!(world.call(method, &path, body).await.0, 200, "{path}");
        }
        let commits = shelf.commits();
        for _ in 0..5 {
            assert_eq!(world.call(method, &path, body).await.0, 200, "{path}");
        }
        assert_eq!(shelf.commits(), commits, "{path}");
    }
}

#[tokio::test]
async fn whoever_has_caught_up_does_not_miss_what_failed_before() {
    // The desk may hear of the store before it hears of the caller, or after.
    for _ in 0..16 {
        let shelf = Shelf::new();
        let world = World::over(Env::system(), Some(shelf.stored()));
        world.registry.caught_up().await.unwrap();
        shelf.condition.send_replace(Condition::Full);
        let (status, _) = world.call("PUT", A, r#"{"port": 9001}"#).await;
        assert_eq!(status, 507);
        shelf.condition.send_replace(Condition::Healthy);
        world.registry.caught_up().await.unwrap();
        assert_eq!(shelf.keys(), ["lease:a"]);
    }
}

#[tokio::test]
async fn what_was_too_much_for_the_disk_is_written_later() {
    let shelf = Shelf::new();
    let world = World::over(Env::system(), Some(shelf.stored()));
    world.registry.caught_up().await.unwrap();
    shelf.is_busy.store(true, Ordering::Relaxed);
    assert_ne!(world.call("PUT", A, r#"{"port": 9001}"#).await.0, 201);
    let refused = world.registry.caught_up().await;
    assert!(matches!(refused, Err(RegistryError::NotStored(_))));
    shelf.is_busy.store(false, Ordering::Relaxed);
    world.registry.caught_up().await.unwrap();
    assert_eq!(shelf.keys(), ["lease:a"]);
}

#[tokio::test]
async fn what_was_too_much_for_the_disk_counts_more_than_what_waits_for_it() {
    let shelf = Shelf::new();
    let world = World::over(Env::system(), Some(shelf.stored()));
    world.registry.caught_up().await.unwrap();
    shelf.is_slow.send_replace(true);
    is_held(&world, world.call("PUT", A, r#"{"port": 9001}"#)).await;
    shelf.is_busy.store(true, Ordering::Relaxed);
    assert_ne!(world.call("DELETE", A, "").await.0, 200);
    shelf.is_busy.store(false, Ordering::Relaxed);
    is_held(&world, async {
        world.registry.caught_up().await.unwrap();
        (200, json!(null))
    })
    .await;
    shelf.be_quick();
    world.registry.caught_up().await.unwrap();
    assert!(shelf.keys().is_empty(), "{:?}", shelf.keys());
}

#[tokio::test]
async fn another_store_holds_what_is_in_memory() {
    let first = Shelf::new();
    let world = World::over(Env::system(), Some(first.stored()));
    world.call("PUT", A, r#"{"port": 9001}"#).await;
    world.registry.attach(None).await.unwrap();
    let b = "/v1/services/orders/instances/b";
    world.call("PUT", b, r#"{"port": 9002}"#).await;
    assert_eq!(first.keys(), ["lease:a"]);
    let second = Shelf::new();
    world.registry.attach(Some(second.stored())).await.unwrap();
    assert_eq!(second.keys(), ["lease:a", "lease:b"]);
}

#[tokio::test]
async fn a_record_that_can_not_be_read_keeps_nobody_else_away() {
    let shelf = Shelf::new();
    let world = World::over(Env::system(), Some(shelf.stored()));
    world.call("PUT", A, r#"{"port": 9001}"#).await;
    let b = "/v1/services/orders/instances/b";
    world.call("PUT", b, r#"{"port": 9002}"#).await;
    drop(world);
    let broken = shelf.facts.lock().unwrap().keys().next().unwrap().clone();
    shelf
        .facts
        .lock()
        .unwrap()
        .insert(broken, Bytes::from_static(b"{"));
    let world = World::over(Env::system(), Some(shelf.stored()));
    let (_, body) = world.call("GET", "/v1/services/orders", "").await;
    assert_eq!(
        (&body["instances"], &body["members"][0]["id"]),
        (&json!(1), &json!("b"))
    );
}

#[tokio::test]
async fn nobody_is_seen_without_what_was_ruled() {
    let shelf = Shelf::new();
    let world = World::over(Env::system(), Some(shelf.stored()));
    world.call("PUT", A, r#"{"port": 9001}"#).await;
    world
        .call("PUT", &format!("{A}/override"), r#"{"override": "drain"}"#)
        .await;
    drop(world);
    let world = World::over(Env::system(), Some(shelf.stored()));
    world.call("GET", "/v1/overrides", "").await;
    let catalog = world.reader.catalog();
    let key = ServiceKey::parse("orders").unwrap();
    assert_eq!(catalog.service(&key).unwrap().instances.len(), 1);
    let journal = catalog.journal();
    for event in journal.since(journal.oldest()).unwrap() {
        let at = catalog.instances_at(&key, event.revision).unwrap();
        let open = at
            .iter()
            .filter(|instance| instance.state.traffic().is_open());
        assert_eq!(open.count(), 0, "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_store_keeps_who_is_held() {
    let env = Env::virtual_time(1);
    let shelf = Shelf::new();
    let world = World::over(env.clone(), Some(shelf.stored()));
    world.call("PUT", A, r#"{"port": 9001, "ttl": "1s"}"#).await;
    env.sleep(Duration::from_secs(3)).await;
    let (_, body) = world.call("GET", A, "").await;
    assert_eq!(body["guard"], "suspect", "{body}");
    assert_eq!(shelf.keys(), ["lease:a"]);
    world.registry.attach(Some(shelf.stored())).await.unwrap();
    assert_eq!(shelf.keys(), ["lease:a"]);
    world.call("DELETE", A, "").await;
    assert_eq!(shelf.keys(), [""; 0]);
}

#[tokio::test]
async fn no_revision_that_was_answered_comes_again_after_a_restart() {
    let shelf = Shelf::new();
    let world = World::over(Env::system(), Some(shelf.stored()));
    let (_, answer) = world.call("PUT", A, r#"{"port": 9001}"#).await;
    let answered = Revision::from_u64(answer["revision"].as_u64().unwrap());
    assert!(shelf.loaded().revision >= answered);
}

#[tokio::test(start_paused = true)]
async fn revisions_of_other_sources_do_not_come_again_either() {
    let shelf = Shelf::new();
    let mut world = World::over(Env::virtual_time(7), Some(shelf.stored()));
    let other = world.inboxes.open(&SourceId::new("file"), Turn::Fair);
    let mut commits = 0;
    for name in ["a", "b", "c"] {
        let services = vec![ServiceKey::parse(name).unwrap()];
        let instances = Vec::new();
        let said = other
            .post(
                None,
                Change::Reset {
                    services,
                    instances,
                },
            )
            .await;
        let revision = said.unwrap().await.unwrap();
        // The registry hears of a publication a moment after everybody else.
        world.env.sleep(Duration::from_secs(1)).await;
        assert!(shelf.loaded().revision >= revision, "{name}");
        assert!(shelf.commits() > commits, "{name}");
        commits = shelf.commits();
        world.env.sleep(Duration::from_mins(10)).await;
        assert_eq!(shelf.commits(), commits, "who is silent writes nothing");
    }
}
