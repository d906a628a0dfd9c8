//! Claims about how keys and values are read. Values of `grpc` are as etcd's own naming
//! package for Go writes them, those of `skydns` as the documentation of `SkyDNS` shows them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use portolan_model::{Health, Instance, SourceId};
use portolan_runtime::{Env, Task};
use portolan_sources::frame::Unfit;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    map,
    proto::{
        Ask, Event, Header, KeyValue, RANGE, RangeRequest, RangeResponse, WatchRequest,
        WatchResponse,
    },
    settings::{Layout, Settings, read as settings_of},
    watch::Etcd,
};
use crate::{
    grpc::tests::{Heard, server},
    world::World,
};

fn settings(layout: &str, prefix: &str) -> Settings {
    let settings = json!({
        "url": "http://127.0.0.1:2379", "layout": layout, "prefix": prefix, "zone": "z0",
    });
    settings_of(&settings).unwrap()
}

fn made(settings: &Settings, key: &str, value: &str) -> Result<Option<Instance>, Unfit> {
    map::read(settings, &SourceId::new("etcd:one"), key, value.as_bytes())
}

fn instance(settings: &Settings, key: &str, value: &Value) -> Instance {
    made(settings, key, &value.to_string()).unwrap().unwrap()
}

#[test]
fn addresses_of_grpc_are_read() {
    let all = settings("grpc", "services/");
    let value = json!({"Op": 0, "Addr": "10.0.0.7:9001", "Metadata": {"version": "v2", "weight": 50, "team": "x"}});
    let made = instance(&all, "services/shop/orders/a1", &value);
    assert_eq!(made.key.to_string(), "shop-orders");
    assert_eq!(made.id.as_str(), "a1");
    assert_eq!(made.endpoints[0].address.to_string(), "10.0.0.7:9001");
    assert_eq!(made.version.as_deref(), Some("v2"));
    assert_eq!(made.weight.as_u16(), 50);
    assert_eq!(made.zone.as_deref(), Some("z0"));
    assert_eq!(made.metadata.get("team").map(|team| &**team), Some("x"));
    let sixth = json!({"Op": 0, "Addr": "[::1]:80", "Metadata": null});
    let made = instance(&settings("grpc", "orders"), "orders/10.0.0.7:9001", &sixth);
    assert_eq!(made.key.to_string(), "orders");
    assert_eq!(made.endpoints[0].address.to_string(), "[::1]:80");
    let made = instance(&settings("grpc", ""), "users/b", &sixth);
    assert_eq!(made.key.to_string(), "users");
}

#[test]
fn an_address_that_is_marked_as_deleted_is_no_instance() {
    let deleted = json!({"Op": 1, "Addr": "10.0.0.7:9001"}).to_string();
    let settings = settings("grpc", "services");
    assert_eq!(made(&settings, "services/orders/a", &deleted), Ok(None));
}

#[test]
fn names_of_skydns_are_turned_around() {
    let value = json!({"host": "10.0.0.7", "port": 80, "priority": 10, "weight": 20, "text": "hello", "ttl": 60});
    let all = settings("skydns", "/skydns");
    let made = instance(&all, "/skydns/local/cluster/orders/x1", &value);
    assert_eq!(made.key.to_string(), "orders.cluster.local");
    assert_eq!((made.id.as_str(), made.weight.as_u16()), ("x1", 20));
    assert_eq!(made.metadata.get("text").map(|text| &**text), Some("hello"));
    let below = settings("skydns", "/skydns/local/cluster");
    let plain = json!({"host": "10.0.0.7", "port": "80", "weight": 0});
    let made = instance(&below, "/skydns/local/cluster/orders/x1", &plain);
    assert_eq!(made.key.to_string(), "orders");
    assert_eq!(made.weight.as_u16(), 100);
    let alone = instance(&below, "/skydns/local/cluster/orders", &plain);
    assert_eq!(
        (alone.key.to_string(), alone.id.as_str()),
        ("orders".into(), "orders")
    );
}

#[test]
fn our_own_layout_is_that_of_a_registration() {
    let value = json!({
        "address": "10.0.0.7", "ports": {"admin": 1, "http": 2}, "status": "warning", "note": "slow",
        "tags": ["blue"], "metadata": {"a": "b"}, "weight": 7,
    });
    let made = instance(&settings("portolan", "/p"), "/p/shop/orders/a", &value);
    assert_eq!(made.key.to_string(), "shop/orders");
    assert_eq!(made.endpoints[0].name.as_str(), "http");
    assert_eq!(made.state.health, Health::Warning);
    assert_eq!(made.state.note.as_deref(), Some("slow"));
    assert_eq!((&*made.tags[0], made.weight.as_u16()), ("blue", 7));
}

#[test]
fn what_can_not_be_read_says_why() {
    let grpc = settings("grpc", "s");
    let skydns = settings("skydns", "/skydns");
    let ours = settings("portolan", "/p");
    let large = format!("\"{}\"", "x".repeat(64 << 10));
    for (settings, key, value, why) in [
        (&grpc, "s/a/b", "nonsense", "not JSON"),
        (&grpc, "s/a/b", "{}", "`Addr`"),
        (&grpc, "s/a/b", &*large, "over the limit"),
        (&grpc, "s/a/b", r#"{"Addr": "host:80"}"#, "no IP address"),
        (&grpc, "s/a/b", r#"{"Addr": "10.0.0.1"}"#, "no port"),
        (&skydns, "/skydns/a/b", r#"{"host": "10.0.0.1"}"#, "no port"),
        (&skydns, "/skydns/", r#"{"host": "10.0.0.1"}"#, "no name"),
        (
            &ours,
            "/p/a/b",
            r#"{"address": "10.0.0.1", "port": 1}"#,
            "<namespace>",
        ),
        (&ours, "/p/a/b/c", r#"{"port": 0}"#, "no registration"),
        (&ours, "/p/a/b/c", r#"{"port": 1}"#, "no IP address"),
    ] {
        let error = made(settings, key, value).unwrap_err().to_string();
        assert!(error.contains(why), "{key} {value}: {error}");
    }
}

#[test]
fn expressions_see_the_key_and_the_value() {
    let mut settings = settings("grpc", "s");
    let more = json!({
        "url": "http://127.0.0.1:2379", "prefix": "s",
        "only": "key != \"s/a/hidden\"", "map": {"version": "value.Metadata.v"},
    });
    settings.basics = settings_of(&more).unwrap().basics;
    let value = json!({"Addr": "10.0.0.1:80", "Metadata": {"v": "3"}});
    assert_eq!(
        instance(&settings, "s/a/b", &value).version.as_deref(),
        Some("3")
    );
    assert_eq!(made(&settings, "s/a/hidden", &value.to_string()), Ok(None));
}

#[test]
fn a_prefix_covers_what_is_below_it_and_nothing_else() {
    let covers = |prefix: &str, key: &str| {
        let key = key.as_bytes();
        let end = map::end_key(prefix);
        key >= &*map::first_key(prefix) && (end == [0] || key < &*end)
    };
    assert!(covers("services", "services/a"));
    assert!(covers("services", "services/\u{10ffff}"));
    assert!(!covers("services", "services"));
    assert!(!covers("services", "services2/a"));
    assert!(!covers("services", "servicea"));
    assert!(covers("", "anything"));
}

#[test]
fn settings_that_make_no_sense_are_found() {
    let paths = |settings: &Value| -> Vec<String> {
        let problems = settings_of(settings).unwrap_err();
        problems.into_iter().map(|problem| problem.path).collect()
    };
    let bad = json!({"urls": ["10.0.0.1:2379"], "layout": "zone_file", "username": "root"});
    assert_eq!(paths(&bad), ["/urls/0", "/layout", "/password"]);
    let path = json!({"url": "http://a:1/b", "prefix": ""});
    assert_eq!(paths(&path), ["/urls"]);
}

#[test]
fn the_default_prefix_is_the_layouts() {
    let prefix = |layout: &str| {
        let settings = json!({"url": "http://a:1", "layout": layout});
        settings_of(&settings).unwrap().prefix
    };
    assert_eq!(prefix("skydns"), "/skydns");
    assert_eq!(prefix("portolan"), "/portolan/services");
}

#[test]
fn a_password_is_not_shown() {
    let settings = json!({"url": "http://a:1", "prefix": "", "username": "u", "password": "hush"});
    assert!(!format!("{:?}", settings_of(&settings).unwrap()).contains("hush"));
}

proptest! {
    #[test]
    fn no_key_and_no_value_is_too_odd(key in ".{0,40}", value in "[\\[\\]{}\":,a-zA-Z0-9. ]{0,80}") {
        for layout in ["grpc", "skydns", "portolan"] {
            let settings = settings(layout, "/p");
            prop_assert!(settings.layout == Layout::Grpc || layout != "grpc");
            let _any = made(&settings, &format!("/p/{key}"), &value);
        }
    }
}

/// A member of etcd, with keys that a test sets.
#[derive(Default)]
struct Fake {
    keys: Mutex<BTreeMap<String, String>>,
    revision: AtomicI64,
    cluster: AtomicU64,
    /// What watches are told: one answer after the other, then silence.
    script: Mutex<VecDeque<WatchResponse>>,
    lists: AtomicU64,
    /// Where watches were asked to begin.
    starts: Mutex<Vec<i64>>,
}

impl Fake {
    fn put(&self, key: &str, address: &str) -> KeyValue {
        let value = json!({"Op": 0, "Addr": address}).to_string();
        self.keys
            .lock()
            .unwrap()
            .insert(key.to_owned(), value.clone());
        let revision = self.revision.fetch_add(1, Relaxed).saturating_add(1);
        entry(key, &value, revision)
    }

    fn header(&self) -> Header {
        Header {
            cluster_id: self.cluster.load(Relaxed),
            revision: self.revision.load(Relaxed),
        }
    }

    fn tell(&self, answer: WatchResponse) {
        self.script.lock().unwrap().push_back(answer);
    }

    async fn serve(self: Arc<Self>, mut heard: Heard) {
        if heard.method == RANGE {
            let asked: RangeRequest = heard.next().await.unwrap();
            heard.say(&self.page(&asked));
            return heard.end("0", "");
        }
        assert!(heard.fields.contains_key("hasleader"));
        let asked: WatchRequest = heard.next().await.unwrap();
        let Some(Ask::Create(create)) = asked.ask else {
            panic!("{asked:?}");
        };
        self.starts.lock().unwrap().push(create.start_revision);
        heard.say(&WatchResponse {
            header: Some(self.header()),
            created: true,
            ..WatchResponse::default()
        });
        while heard.next::<WatchRequest>().await.is_some() {
            // Every question for progress gets the next line of the script.
            let next = self.script.lock().unwrap().pop_front();
            let silent = WatchResponse {
                header: Some(self.header()),
                watch_id: -1,
                ..WatchResponse::default()
            };
            heard.say(&next.unwrap_or(silent));
        }
    }

    /// Pages of two, whatever is asked for.
    fn page(&self, asked: &RangeRequest) -> RangeResponse {
        self.lists.fetch_add(1, Relaxed);
        let keys = self.keys.lock().unwrap();
        let rest = keys.iter().filter(|(key, _)| key.as_bytes() >= &*asked.key);
        let rest: Vec<_> = rest.map(|(key, value)| entry(key, value, 1)).collect();
        RangeResponse {
            header: Some(self.header()),
            more: rest.len() > 2,
            count: i64::try_from(rest.len()).unwrap(),
            kvs: rest.into_iter().take(2).collect(),
        }
    }
}

fn entry(key: &str, value: &str, mod_revision: i64) -> KeyValue {
    KeyValue {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        mod_revision,
        lease: 0,
    }
}

async fn world(fake: &Arc<Fake>) -> (World, Task) {
    world_of(fake, usize::MAX).await
}

/// A source that takes so many keys at most.
async fn world_of(fake: &Arc<Fake>, keys_max: usize) -> (World, Task) {
    let env = Env::system();
    let serving = Arc::clone(fake);
    let (url, task) = server(&env, move |heard| Arc::clone(&serving).serve(heard)).await;
    let settings = settings_of(&json!({"url": url.to_string(), "prefix": "s"})).unwrap();
    let id = SourceId::new("etcd:one");
    let mut source = Etcd::new(settings, id.clone(), env.clone());
    source.keys_max = keys_max;
    (World::new(&env, &id, source), task)
}

fn fake(ids: &[&str]) -> Arc<Fake> {
    let fake = Arc::new(Fake::default());
    for id in ids {
        fake.put(&format!("s/orders/{id}"), "10.0.0.1:80");
    }
    fake
}

fn events(fake: &Fake, events: Vec<Event>) -> WatchResponse {
    WatchResponse {
        header: Some(fake.header()),
        events,
        ..WatchResponse::default()
    }
}

#[tokio::test]
async fn pages_are_read_to_the_end_and_changes_follow() {
    let fake = fake(&["a", "b", "c", "d", "e"]);
    let put = fake.put("s/orders/f", "10.0.0.2:80");
    let gone = entry("s/orders/a", "", 9);
    let spoilt = entry("s/orders/b", "nonsense", 9);
    let change = vec![
        Event {
            kind: 1,
            kv: Some(gone),
            prev_kv: None,
        },
        Event {
            kind: 0,
            kv: Some(spoilt),
            prev_kv: None,
        },
        Event {
            kind: 0,
            kv: Some(put),
            prev_kv: None,
        },
    ];
    fake.keys.lock().unwrap().remove("s/orders/f");
    fake.tell(events(&fake, change));
    let (mut world, _server) = world(&fake).await;
    world.until("b c d e f").await;
    assert_eq!(fake.lists.load(Relaxed), 3);
}

#[tokio::test]
async fn what_was_compacted_away_is_read_again_without_an_empty_moment() {
    let fake = fake(&["a"]);
    let compacted = WatchResponse {
        header: Some(fake.header()),
        canceled: true,
        compact_revision: 7,
        ..WatchResponse::default()
    };
    fake.tell(compacted);
    let (mut world, _server) = world(&fake).await;
    world.until("a").await;
    fake.put("s/orders/b", "10.0.0.2:80");
    world.until("a b").await;
    assert!(
        world.stale().is_empty() && !world.was_empty(),
        "{:?}",
        world.stale()
    );
}

#[tokio::test]
async fn a_member_without_a_leader_is_left_and_taken_up_where_it_was() {
    let fake = fake(&["a"]);
    let revision = fake.revision.load(Relaxed);
    let cancelled = WatchResponse {
        header: Some(fake.header()),
        canceled: true,
        cancel_reason: "etcdserver: no leader".to_owned(),
        ..WatchResponse::default()
    };
    fake.tell(cancelled);
    let put = fake.put("s/orders/b", "10.0.0.2:80");
    fake.keys.lock().unwrap().remove("s/orders/b");
    fake.tell(events(
        &fake,
        vec![Event {
            kind: 0,
            kv: Some(put),
            prev_kv: None,
        }],
    ));
    fake.revision.store(revision, Relaxed);
    let (mut world, _server) = world(&fake).await;
    world.until("a b").await;
    assert_eq!(
        fake.lists.load(Relaxed),
        1,
        "it was resumed, not read again"
    );
    assert_eq!(*fake.starts.lock().unwrap(), [revision + 1, revision + 1]);
}

#[tokio::test]
async fn another_cluster_is_read_anew() {
    let fake = fake(&["a"]);
    let lost = WatchResponse {
        canceled: true,
        ..WatchResponse::default()
    };
    fake.tell(lost);
    let (mut world, _server) = world(&fake).await;
    world.until("a").await;
    fake.cluster.store(2, Relaxed);
    fake.put("s/orders/b", "10.0.0.2:80");
    fake.tell(WatchResponse {
        canceled: true,
        ..WatchResponse::default()
    });
    world.until("a b").await;
    assert!(!world.was_empty());
}

#[tokio::test]
async fn events_do_not_add_more_keys_than_a_list_may_have() {
    let fake = fake(&["a"]);
    let puts = ["b", "c", "d"].map(|id| Event {
        kind: 0,
        kv: Some(fake.put(&format!("s/orders/{id}"), "10.0.0.2:80")),
        prev_kv: None,
    });
    // By the time that they are listed, they are gone.
    fake.keys
        .lock()
        .unwrap()
        .retain(|key, _| key == "s/orders/a");
    fake.tell(events(&fake, puts.to_vec()));
    let (mut world, _server) = world_of(&fake, 3).await;
    world.until("a b c d").await;
    world.until("a").await;
    assert_eq!(fake.lists.load(Relaxed), 2);
}
