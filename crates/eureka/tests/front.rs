//! Eureka's protocol over real HTTP on loopback.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

// The same world as the registry's own tests.
#[path = "../../registry/tests/common/mod.rs"]
mod common;

use std::{
    collections::BTreeMap,
    io::Read as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use common::World;
use portolan_catalog::Turn;
use portolan_dialects::eureka::{
    Action, Applications, Counts, Format, InstanceInfo, Status, read_application,
    read_applications, read_instance,
};
use portolan_eureka::{Eureka, Parts};
use portolan_model::{Change, SourceId};
use portolan_runtime::Env;
use portolan_wire::serve::{Hosts, Limits, Settings, serve};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A registry with this front on a port of its own.
struct Server {
    world: World,
    address: SocketAddr,
    is_warm: Arc<AtomicBool>,
}

/// An answer: status, head and body.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Server {
    fn new(env: &Env) -> Self {
        let mut world = World::new(env.clone());
        let is_warm = Arc::new(AtomicBool::new(true));
        let warm = Arc::clone(&is_warm);
        let front = Eureka::new(Parts {
            registry: world.registry.clone(),
            env: env.clone(),
            is_warm: Arc::new(move || warm.load(Ordering::Relaxed)),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let settings = Settings {
            limits: Limits::default(),
            hosts: Hosts::Named(Vec::new()),
            tls: None,
        };
        let (watch, clock) = (world.drain.watch(), env.clone());
        let served = serve(listener, Arc::new(front), settings, watch, clock);
        world.keep(env.spawn("eureka", async { served.await.unwrap() }));
        Self {
            world,
            address,
            is_warm,
        }
    }

    async fn call(&self, method: &str, path: &str, fields: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "{method} /eureka/{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-length: {}\r\n{fields}\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8(bytes[..end].to_vec())
            .unwrap()
            .to_lowercase();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }

    async fn status(&self, method: &str, path: &str) -> u16 {
        self.call(method, path, "", "").await.status
    }

    /// Registers `id` of `app` with what it says besides.
    async fn register(&self, app: &str, id: &str, besides: Value) -> Answer {
        let mut instance = json!({
            "instanceId": id, "hostName": "h", "app": app, "ipAddr": "10.0.0.1",
            "port": {"$": 80, "@enabled": "true"}, "vipAddress": app,
            "dataCenterInfo": {"name": "MyOwn"}, "lastDirtyTimestamp": "1000",
        });
        let members = besides.as_object().unwrap().clone();
        instance.as_object_mut().unwrap().extend(members);
        let body = json!({"instance": instance}).to_string();
        let fields = "content-type: application/json\r\n";
        self.call("POST", &format!("apps/{app}"), fields, &body)
            .await
    }

    async fn add(&self, app: &str, id: &str) {
        assert_eq!(self.register(app, id, json!({})).await.status, 204);
    }

    async fn lists(&self, path: &str) -> Applications {
        let answer = self.call("GET", path, JSON, "").await;
        assert_eq!(answer.status, 200, "{}", answer.head);
        read_applications(Format::Json, &answer.body).unwrap()
    }

    async fn shown(&self, app: &str, id: &str) -> InstanceInfo {
        let answer = self
            .call("GET", &format!("apps/{app}/{id}"), JSON, "")
            .await;
        assert_eq!(answer.status, 200);
        read_instance(Format::Json, &answer.body).unwrap()
    }
}

const JSON: &str = "accept: application/json\r\n";
const PEER: &str = "x-netflix-discovery-replication: true\r\n";

fn hash_of(instances: impl IntoIterator<Item = InstanceInfo>) -> String {
    let statuses = instances.into_iter().map(|info| info.status);
    statuses.collect::<Counts>().hash()
}

fn all(lists: &Applications) -> Vec<InstanceInfo> {
    let lists = lists.applications.iter();
    lists.flat_map(|app| app.instances.clone()).collect()
}

#[tokio::test]
async fn an_instance_registers_beats_and_leaves() {
    let server = Server::new(&Env::system());
    let beat = "apps/ORDERS/a?status=UP&lastDirtyTimestamp=1000";
    assert_eq!(server.status("PUT", beat).await, 404, "it should register");
    let answer = server.register("ORDERS", "a", json!({})).await;
    assert_eq!((answer.status, answer.text()), (204, String::new()));
    let answer = server.call("PUT", beat, "", "").await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(
        server.status("PUT", "apps/orders/a").await,
        200,
        "in any case"
    );

    let answer = server.call("GET", "apps/orders", JSON, "").await;
    assert!(answer.head.contains("content-type: application/json"));
    let app = read_application(Format::Json, &answer.body).unwrap();
    assert_eq!((&*app.name, app.instances.len()), ("ORDERS", 1));
    let answer = server.call("GET", "apps/orders", "", "").await;
    assert!(answer.head.contains("content-type: application/xml"));
    assert_eq!(read_application(Format::Xml, &answer.body).unwrap(), app);
    let lists = server.lists("apps/").await;
    assert_eq!(
        (&*lists.hash, &lists.applications[..]),
        ("UP_1_", &[app][..])
    );
    for path in ["instances/a", "apps/ORDERS/a"] {
        let answer = server.call("GET", path, JSON, "").await;
        assert_eq!(answer.json()["instance"]["instanceId"], "a", "{path}");
    }

    assert_eq!(server.status("DELETE", "apps/ORDERS/a").await, 200);
    for (method, path) in [
        ("DELETE", "apps/ORDERS/a"),
        ("PUT", "apps/ORDERS/a"),
        ("GET", "apps/ORDERS/a"),
        ("GET", "apps/ORDERS"),
        ("GET", "instances/a"),
        ("PUT", "apps/ORDERS/a/status?value=UP"),
        ("DELETE", "apps/ORDERS/a/status"),
        ("PUT", "apps/ORDERS/a/metadata?a=b"),
    ] {
        assert_eq!(server.status(method, path).await, 404, "{method} {path}");
    }
    assert_eq!(server.lists("apps").await.hash, "");
}

#[tokio::test]
async fn xml_registers_as_well() {
    let server = Server::new(&Env::system());
    let body = "<instance><hostName>h</hostName><app>orders</app><ipAddr>10.0.0.1</ipAddr>\
        <port enabled=\"true\">80</port><dataCenterInfo><name>MyOwn</name></dataCenterInfo></instance>";
    for (app, fields) in [
        ("ORDERS", "content-type: application/xml\r\n"),
        ("orders", ""),
    ] {
        let answer = server
            .call("POST", &format!("apps/{app}"), fields, body)
            .await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    assert_eq!(server.shown("ORDERS", "h").await.port.number, 80);
}

#[tokio::test]
async fn bad_registrations_are_told_in_plain_text() {
    let server = Server::new(&Env::system());
    for (besides, text) in [
        (json!({"hostName": ""}), "Missing hostname"),
        (json!({"ipAddr": null}), "Missing ip address"),
        (json!({"dataCenterInfo": null}), "Missing dataCenterInfo"),
        (
            json!({"app": "OTHER"}),
            "Mismatched appName, expecting ORDERS but was OTHER",
        ),
    ] {
        let answer = server.register("ORDERS", "a", besides).await;
        assert_eq!((answer.status, &*answer.text()), (400, text));
        assert!(answer.head.contains("content-type: text/plain"));
    }
    let answer = server.call("POST", "apps/ORDERS", "", "{").await;
    assert_eq!(answer.status, 400);
    let gzip = "content-encoding: gzip\r\n";
    assert_eq!(
        server.call("POST", "apps/ORDERS", gzip, "").await.status,
        415
    );
    assert_eq!(server.status("GET", "elsewhere").await, 404);
    let answer = server.call("DELETE", "apps/ORDERS", "", "").await;
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("allow: get, post"), "{}", answer.head);
    assert_eq!(
        server.status("PUT", "asg/x/status?value=ENABLED").await,
        400
    );
}

#[tokio::test]
async fn the_newer_word_of_an_instance_wins() {
    let server = Server::new(&Env::system());
    let port = |port: u16, dirty: &str| json!({"port": port, "lastDirtyTimestamp": dirty});
    for (given, dirty, expected) in [
        (1, "2000", 1),
        (2, "1999", 1),
        (3, "2000", 3),
        (4, "2001", 4),
    ] {
        let answer = server.register("ORDERS", "a", port(given, dirty)).await;
        assert_eq!(answer.status, 204);
        assert_eq!(server.shown("ORDERS", "a").await.port.number, expected);
    }
    let beat = |dirty: u64| format!("apps/ORDERS/a?lastDirtyTimestamp={dirty}");
    assert_eq!(server.status("PUT", &beat(2001)).await, 200);
    assert_eq!(server.status("PUT", &beat(2000)).await, 200);
    assert_eq!(
        server.status("PUT", &beat(2002)).await,
        404,
        "register, then"
    );
    let answer = server
        .call("PUT", &beat(2000), &format!("{PEER}{JSON}"), "")
        .await;
    assert_eq!(answer.status, 409);
    assert_eq!(
        read_instance(Format::Json, &answer.body)
            .unwrap()
            .last_dirty,
        2001
    );
    assert_eq!(
        server
            .status("PUT", "apps/ORDERS/a?lastDirtyTimestamp=x")
            .await,
        400
    );
}

#[tokio::test]
async fn an_override_outlives_registrations_until_it_is_taken_back() {
    let server = Server::new(&Env::system());
    server.add("ORDERS", "a").await;
    let status = "apps/ORDERS/a/status";
    assert_eq!(
        server
            .status("PUT", &format!("{status}?value=OUT_OF_SERVICE"))
            .await,
        200
    );
    let shown = server.shown("ORDERS", "a").await;
    assert_eq!(
        (shown.status, shown.overridden),
        (Status::OutOfService, Status::OutOfService)
    );
    let key = portolan_model::ServiceKey::parse("orders").unwrap();
    let catalog = server.world.reader.catalog();
    let state = &catalog.service(&key).unwrap().instances[0].state;
    assert!(!state.traffic().is_open(), "and gets no requests");
    let answer = server
        .call("GET", "serverinfo/statusoverrides", JSON, "")
        .await;
    assert_eq!(answer.json(), json!({"a": "OUT_OF_SERVICE"}));
}

#[tokio::test]
async fn a_registration_keeps_the_override_unless_the_instance_is_sick() {
    let server = Server::new(&Env::system());
    server.add("ORDERS", "a").await;
    let status = "apps/ORDERS/a/status";
    let path = format!("{status}?value=OUT_OF_SERVICE");
    assert_eq!(server.status("PUT", &path).await, 200);
    server
        .register("ORDERS", "a", json!({"lastDirtyTimestamp": "2000"}))
        .await;
    assert_eq!(
        server.shown("ORDERS", "a").await.status,
        Status::OutOfService
    );
    server
        .register("ORDERS", "a", json!({"status": "DOWN"}))
        .await;
    server
        .register(
            "ORDERS",
            "a",
            json!({"status": "DOWN", "lastDirtyTimestamp": "3000"}),
        )
        .await;
    assert_eq!(
        server.shown("ORDERS", "a").await.status,
        Status::Down,
        "it knows best"
    );
    assert_eq!(server.status("PUT", "apps/ORDERS/a").await, 200);

    assert_eq!(
        server.status("DELETE", &format!("{status}?value=UP")).await,
        200
    );
    let shown = server.shown("ORDERS", "a").await;
    assert_eq!(
        (shown.status, shown.overridden),
        (Status::Up, Status::Unknown)
    );
    server.status("PUT", &format!("{status}?value=DOWN")).await;
    assert_eq!(server.shown("ORDERS", "a").await.status, Status::Down);
    assert_eq!(server.status("DELETE", status).await, 200);
    assert_eq!(server.shown("ORDERS", "a").await.status, Status::Unknown);
    assert_eq!(
        server.status("PUT", "apps/ORDERS/a").await,
        404,
        "register, then"
    );
    server.add("ORDERS", "a").await;
    server
        .register("ORDERS", "a", json!({"lastDirtyTimestamp": "9000"}))
        .await;
    assert_eq!(server.shown("ORDERS", "a").await.status, Status::Up);

    for bad in ["?value=up", "", "?value="] {
        assert_eq!(
            server.status("PUT", &format!("{status}{bad}")).await,
            500,
            "{bad}"
        );
    }
}

#[tokio::test]
async fn an_override_goes_with_the_instance_but_an_operators_ruling_stays() {
    let server = Server::new(&Env::system());
    server.add("ORDERS", "a").await;
    let out = "apps/ORDERS/a/status?value=OUT_OF_SERVICE";
    assert_eq!(server.status("PUT", out).await, 200);
    assert_eq!(server.status("DELETE", "apps/ORDERS/a").await, 200);
    server.add("ORDERS", "a").await;
    assert_eq!(server.shown("ORDERS", "a").await.status, Status::Up);

    let path = "/v1/services/orders/instances/a/override";
    let (status, _) = server
        .world
        .call("PUT", path, r#"{"override": "drain", "weight": 7}"#)
        .await;
    assert_eq!(status, 200);
    assert_eq!(server.status("DELETE", "apps/ORDERS/a").await, 200);
    server.add("ORDERS", "a").await;
    assert_eq!(
        server.shown("ORDERS", "a").await.status,
        Status::OutOfService
    );
    let up = "apps/ORDERS/a/status?value=UP";
    assert_eq!(server.status("DELETE", up).await, 200);
    assert_eq!(server.shown("ORDERS", "a").await.status, Status::Up);
    let (_, ruling) = server.world.call("GET", path, "").await;
    assert_eq!(ruling["weight"], 7, "only the traffic was let in");
}

#[tokio::test]
async fn metadata_are_merged_and_the_rest_stays() {
    let server = Server::new(&Env::system());
    let besides = json!({"metadata": {"a": "1", "b": "2"}, "homePageUrl": "http://h/",
        "leaseInfo": {"durationInSecs": 7, "renewalIntervalInSecs": 3}});
    server.register("ORDERS", "a", besides).await;
    let path = "apps/ORDERS/a/metadata?b=x+y%26&zone=z1&eureka/hostName=spoofed";
    assert_eq!(server.status("PUT", path).await, 200);
    let shown = server.shown("ORDERS", "a").await;
    let labels: BTreeMap<&str, &str> = shown.metadata.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(labels, [("a", "1"), ("b", "x y&"), ("zone", "z1")].into());
    assert_eq!(shown.pages.0[0].as_deref(), Some("http://h/"));
    assert_eq!(
        (shown.lease.duration_seconds, shown.lease.renewal_seconds),
        (7, 3)
    );
    assert_eq!(&*shown.host_name, "h");
    assert!(shown.lease.registered > 0 && shown.lease.up_since > 0);
}

#[tokio::test]
async fn names_are_answered_with_lists_that_may_be_empty() {
    let server = Server::new(&Env::system());
    server
        .register("ORDERS", "a", json!({"vipAddress": "one,two"}))
        .await;
    server
        .register(
            "OTHERS",
            "b",
            json!({"vipAddress": "two", "secureVipAddress": "safe"}),
        )
        .await;
    let ids = async |path: &str| {
        let lists = server.lists(path).await;
        assert_eq!(lists.hash, hash_of(all(&lists)), "of what is in it");
        all(&lists)
            .iter()
            .map(|info| info.id().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("vips/one").await, ["a"]);
    assert_eq!(ids("vips/two").await, ["a", "b"]);
    assert_eq!(ids("svips/safe").await, ["b"]);
    assert_eq!(ids("vips/none").await, [""; 0]);
}

#[tokio::test]
async fn instances_of_other_protocols_and_sources_are_shown() {
    let mut server = Server::new(&Env::system());
    let (status, _) = server
        .world
        .call(
            "PUT",
            "/v1/services/native/instances/n",
            r#"{"port": 9001, "ttl": "60s"}"#,
        )
        .await;
    assert_eq!(status, 201);
    let shown = server.shown("NATIVE", "n").await;
    assert_eq!((shown.port.number, shown.status), (9001, Status::Up));
    assert_eq!(all(&server.lists("vips/native").await).len(), 1);
    assert_eq!(
        server.status("PUT", "apps/NATIVE/n").await,
        200,
        "and may beat"
    );
    let path = "apps/NATIVE/n/status";
    let out = format!("{path}?value=OUT_OF_SERVICE");
    assert_eq!(server.status("PUT", &out).await, 200);
    let shown = server.shown("NATIVE", "n").await;
    assert_eq!(shown.status, Status::OutOfService);
    assert_eq!(server.status("DELETE", path).await, 200);
    assert_eq!(server.shown("NATIVE", "n").await.status, Status::Up);
    let down = format!("{path}?value=DOWN");
    assert_eq!(
        server.status("PUT", &down).await,
        500,
        "that is Eureka's word"
    );
    let labels = "apps/NATIVE/n/metadata?a=b";
    assert_eq!(server.status("PUT", labels).await, 200);
    assert!(server.shown("NATIVE", "n").await.metadata.contains_key("a"));

    let edge = server
        .world
        .inboxes
        .open(&SourceId::new("file:edge"), Turn::Fair);
    let catalog = server.world.reader.catalog();
    let native = portolan_model::ServiceKey::parse("native").unwrap();
    let mut foreign = (*catalog.service(&native).unwrap().instances[0]).clone();
    foreign.key = portolan_model::ServiceKey::parse("filed").unwrap();
    foreign.source = SourceId::new("file:edge");
    let instance = Arc::new(foreign);
    edge.commit(None, Change::Put { instance }).await.unwrap();
    assert_eq!(server.shown("FILED", "n").await.port.number, 9001);
    assert_eq!(
        server.status("PUT", "apps/FILED/n").await,
        404,
        "it is not ours to keep"
    );
    let out = "apps/FILED/n/status?value=OUT_OF_SERVICE";
    assert_eq!(server.status("PUT", out).await, 200);
    let shown = server.shown("FILED", "n").await;
    assert_eq!(shown.status, Status::OutOfService, "an operator may rule");
    let labels = "apps/FILED/n/metadata?a=b";
    assert_eq!(server.status("PUT", labels).await, 500);
    let (status, _) = server
        .world
        .call(
            "PUT",
            "/v1/namespaces/x/services/hidden/instances/n",
            r#"{"port": 1}"#,
        )
        .await;
    assert_eq!(status, 201);
    assert_eq!(server.lists("apps").await.applications.len(), 2);
}

#[tokio::test]
async fn a_delta_tells_what_happened_and_the_hash_of_everything() {
    let server = Server::new(&Env::system());
    server.add("ORDERS", "a").await;
    server.add("ORDERS", "b").await;
    server.add("OTHERS", "c").await;
    server
        .status("PUT", "apps/ORDERS/b/status?value=OUT_OF_SERVICE")
        .await;
    server.status("DELETE", "apps/OTHERS/c").await;
    let delta = server.lists("apps/delta").await;
    let told: Vec<_> = all(&delta)
        .iter()
        .map(|info| (info.id().to_owned(), info.action.unwrap(), info.status))
        .collect();
    let owned = |id: &str, action, status| (id.to_owned(), action, status);
    // Whoever knows `b` from its registration must not pass over the rest.
    // `c` was last seen while it was leaving.
    assert_eq!(
        told,
        [
            owned("a", Action::Added, Status::Up),
            owned("b", Action::Modified, Status::OutOfService),
            owned("c", Action::Deleted, Status::OutOfService),
        ]
    );
    assert_eq!(delta.hash, "OUT_OF_SERVICE_1_UP_1_");
    let lists = server.lists("apps").await;
    assert_eq!((&delta.hash, &delta.version), (&lists.hash, &lists.version));
}

#[tokio::test(start_paused = true)]
async fn a_delta_forgets_what_is_older_than_its_window() {
    let env = Env::virtual_time(1);
    let server = Server::new(&env);
    let lease = json!({"leaseInfo": {"durationInSecs": 1000}});
    server.register("ORDERS", "a", lease.clone()).await;
    env.sleep(Duration::from_secs(179)).await;
    server.register("ORDERS", "b", lease.clone()).await;
    assert_eq!(all(&server.lists("apps/delta").await).len(), 2);
    env.sleep(Duration::from_secs(2)).await;
    let delta = server.lists("apps/delta").await;
    assert_eq!(
        all(&delta).iter().map(InstanceInfo::id).collect::<Vec<_>>(),
        ["b"]
    );
    server
        .register(
            "ORDERS",
            "a",
            json!({"port": 81, "leaseInfo": {"durationInSecs": 1000}}),
        )
        .await;
    let delta = server.lists("apps/delta").await;
    assert_eq!(
        all(&delta)[0].action,
        Some(Action::Modified),
        "it was there before"
    );
    env.sleep(Duration::from_secs(200)).await;
    let delta = server.lists("apps/delta").await;
    assert_eq!((all(&delta).len(), &*delta.hash), (0, "UP_2_"));
}

/// Registers, overrides and removes some instances in turn.
async fn writes(server: Arc<Server>, writer: usize) {
    for round in 0..15 {
        let (app, id) = (
            format!("APP{}", round % 3),
            format!("i{writer}-{}", round % 5),
        );
        let dirty = json!({"lastDirtyTimestamp": round + 1});
        server.register(&app, &id, dirty).await;
        let path = format!("apps/{app}/{id}");
        match round % 4 {
            1 => server.status("DELETE", &path).await,
            2 => {
                let path = format!("{path}/status?value=DOWN");
                server.status("PUT", &path).await
            }
            _ => 200,
        };
    }
}

/// What a client does with a delta.
fn apply(known: &mut BTreeMap<(Arc<str>, String), InstanceInfo>, delta: &Applications) {
    for info in all(delta) {
        let key = (Arc::clone(&info.app), info.id().to_owned());
        if info.action == Some(Action::Deleted) {
            known.remove(&key);
        } else {
            known.insert(key, info);
        }
    }
}

#[tokio::test]
async fn whoever_follows_by_deltas_knows_everything_under_concurrent_writes() {
    let server = Arc::new(Server::new(&Env::system()));
    let writers: Vec<_> = (0..4)
        .map(|writer| writes(Arc::clone(&server), writer))
        .collect();
    let follower = async {
        let mut known = BTreeMap::new();
        for _ in 0..60 {
            let delta = server.lists("apps/delta").await;
            apply(&mut known, &delta);
            assert_eq!(hash_of(known.values().cloned()), delta.hash);
            let lists = server.lists("apps").await;
            assert_eq!(hash_of(all(&lists)), lists.hash);
        }
    };
    let mut tasks = tokio::task::JoinSet::new();
    for writer in writers {
        tasks.spawn(writer);
    }
    follower.await;
    tasks.join_all().await;
}

#[tokio::test]
async fn lists_are_shared_and_zipped_for_whoever_asks() {
    let server = Server::new(&Env::system());
    server.add("ORDERS", "a").await;
    let fields = format!("{JSON}accept-encoding: gzip\r\n");
    for path in ["apps", "apps/delta"] {
        let plain = server.call("GET", path, JSON, "").await;
        let zipped = server.call("GET", path, &fields, "").await;
        assert!(
            zipped.head.contains("content-encoding: gzip"),
            "{}",
            zipped.head
        );
        let mut text = Vec::new();
        let mut reader = flate2::read::GzDecoder::new(&*zipped.body);
        reader.read_to_end(&mut text).unwrap();
        assert_eq!(text, plain.body);
    }
    let single = server.call("GET", "apps/ORDERS", &fields, "").await;
    assert!(!single.head.contains("content-encoding"), "only on the two");
}

#[tokio::test]
async fn lists_are_refused_until_everything_is_known() {
    let server = Server::new(&Env::system());
    server.is_warm.store(false, Ordering::Relaxed);
    server.add("ORDERS", "a").await;
    for path in ["apps", "apps/delta", "apps/ORDERS", "vips/x", "svips/x"] {
        assert_eq!(server.status("GET", path).await, 403, "{path}");
    }
    assert_eq!(server.status("PUT", "apps/ORDERS/a").await, 200);
    server.is_warm.store(true, Ordering::Relaxed);
    assert_eq!(server.status("GET", "apps").await, 200);
}

#[tokio::test]
async fn a_batch_of_a_peer_is_answered_item_by_item() {
    let server = Server::new(&Env::system());
    server
        .register("ORDERS", "a", json!({"lastDirtyTimestamp": "2000"}))
        .await;
    let info = json!({"instanceId": "b", "hostName": "h", "app": "ORDERS", "ipAddr": "10.0.0.2",
        "dataCenterInfo": {"name": "MyOwn"}, "lastDirtyTimestamp": "5", "overriddenStatus": "OUT_OF_SERVICE"});
    let item = |id: &str, action: &str, besides: Value| {
        let mut item = json!({"appName": "ORDERS", "id": id, "action": action});
        item.as_object_mut()
            .unwrap()
            .extend(besides.as_object().unwrap().clone());
        item
    };
    let batch = json!({"replicationList": [
        item("a", "Heartbeat", json!({"lastDirtyTimestamp": 2000, "status": "UP"})),
        item("a", "Heartbeat", json!({"lastDirtyTimestamp": 1999})),
        item("a", "Heartbeat", json!({"lastDirtyTimestamp": 2001})),
        item("x", "Heartbeat", json!({})),
        item("b", "Register", json!({"instanceInfo": info})),
        item("b", "Register", json!({})),
        item("a", "StatusUpdate", json!({"status": "OUT_OF_SERVICE", "lastDirtyTimestamp": "1"})),
        item("a", "DeleteStatusOverride", json!({"status": "UP"})),
        item("a", "StatusUpdate", json!({"status": "nonsense"})),
        item("a", "Cancel", json!({})),
        item("a", "Cancel", json!({})),
    ]});
    let path = "peerreplication/batch/";
    let answer = server
        .call("POST", path, &format!("{PEER}{JSON}"), &batch.to_string())
        .await;
    assert_eq!(answer.status, 200);
    let answers = &answer.json()["responseList"];
    let statuses: Vec<_> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| answer["statusCode"].as_u64().unwrap())
        .collect();
    assert_eq!(
        statuses,
        [200, 409, 404, 404, 200, 400, 200, 200, 500, 200, 404]
    );
    assert_eq!(answers[1]["responseEntity"]["lastDirtyTimestamp"], "2000");
    let shown = server.shown("ORDERS", "b").await;
    assert_eq!(
        (shown.status, shown.overridden),
        (Status::OutOfService, Status::OutOfService)
    );
    assert_eq!(server.call("POST", path, JSON, "{").await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_silent_instance_goes_after_the_span_that_it_named() {
    let env = Env::virtual_time(1);
    let server = Server::new(&env);
    server
        .register("ORDERS", "a", json!({"leaseInfo": {"durationInSecs": 5}}))
        .await;
    server
        .register("ORDERS", "b", json!({"leaseInfo": {"durationInSecs": 500}}))
        .await;
    env.sleep(Duration::from_secs(4)).await;
    assert_eq!(server.status("PUT", "apps/ORDERS/a").await, 200);
    env.sleep(Duration::from_secs(4)).await;
    assert_eq!(
        server.status("PUT", "apps/ORDERS/a").await,
        200,
        "it was heard of"
    );
    env.sleep(Duration::from_secs(6)).await;
    assert_eq!(
        server.status("PUT", "apps/ORDERS/a").await,
        404,
        "it should register"
    );
    server.add("ORDERS", "a").await;
    assert_eq!(server.status("PUT", "apps/ORDERS/a").await, 200);
    let besides = json!({"leaseInfo": {"durationInSecs": 999_999_999}});
    assert_eq!(
        server.register("ORDERS", "c", besides).await.status,
        204,
        "cut to the longest"
    );
}

#[tokio::test]
async fn whoever_repeats_itself_changes_nothing() {
    let server = Server::new(&Env::system());
    server.add("ORDERS", "a").await;
    let revision = server.world.reader.catalog().revision();
    server.add("ORDERS", "a").await;
    assert_eq!(server.world.reader.catalog().revision(), revision);
    server.register("ORDERS", "a", json!({"port": 81})).await;
    assert!(server.world.reader.catalog().revision() > revision);
}

#[tokio::test]
async fn the_server_says_how_it_is() {
    let server = Server::new(&Env::system());
    server.add("ORDERS", "a").await;
    let answer = server.call("GET", "status", JSON, "").await;
    assert_eq!(answer.json()["instances"], "1");
    let answer = server.call("GET", "status", "", "").await;
    assert!(answer.text().starts_with("<status>"), "{}", answer.text());
}
