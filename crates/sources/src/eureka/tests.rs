//! Claims about the `eureka` source.

use std::{
    io::Write as _,
    sync::{Arc, Mutex},
};

use flate2::{Compression, write::GzEncoder};
use portolan_dialects::eureka::{
    Applications, Format, InstanceInfo, read_instance, read_sound_applications,
};
use portolan_model::{Health, NodeId, Override, SourceId};
use portolan_runtime::Env;
use portolan_wire::serve::{Request, Response};
use serde_json::{Value, json};

use super::{KIND, local::Local, map};
use crate::testing::{Server, World, answer, field, instances, node};

/// A Eureka server that knows what the test says.
#[derive(Clone)]
struct Eureka(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    node: Option<NodeId>,
    all: Vec<Value>,
    delta: Vec<Value>,
    /// The hash that deltas carry; none for the right one.
    hash: Option<String>,
    /// Statuses instead of answers, of everything and of deltas.
    refusals: [Option<u16>; 2],
    asked: Vec<String>,
    authorization: Option<String>,
}

impl Eureka {
    fn new(all: &[Value]) -> Self {
        Self(Arc::new(Mutex::new(State {
            all: all.to_vec(),
            ..State::default()
        })))
    }

    fn start(&self) -> Server {
        let this = self.clone();
        Server::start(&Env::system(), move |request: Request| {
            let answer = this.answer(&request);
            async move { answer }
        })
    }

    fn answer(&self, request: &Request) -> Response {
        let mut state = self.0.lock().unwrap();
        let path = request.uri().path().to_owned();
        state.asked.push(path.clone());
        state.authorization = field(request.headers(), "authorization");
        let is_delta = path == "/eureka/apps/delta";
        if let Some(status) = state.refusals[usize::from(is_delta)] {
            return answer(status, &[], "");
        }
        let right = hash(&state.all);
        let hash = state.hash.clone().unwrap_or(right);
        let list = if is_delta { &state.delta } else { &state.all };
        let body = applications(list, &hash).to_string();
        let node = state.node.as_ref().map(NodeId::as_str);
        let mut fields: Vec<_> = node.map(|node| (NodeId::FIELD, node)).into_iter().collect();
        if field(request.headers(), "accept-encoding").is_some() {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(body.as_bytes()).unwrap();
            fields.push(("content-encoding", "gzip"));
            return answer(200, &fields, packed.finish().unwrap());
        }
        answer(200, &fields, body)
    }

    fn state(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap());
    }

    fn asked_for_all(&self) -> usize {
        let state = self.0.lock().unwrap();
        let all = state.asked.iter().filter(|path| *path == "/eureka/apps/");
        all.count()
    }
}

fn info(id: &str, status: &str) -> Value {
    json!({
        "instanceId": id, "app": "ORDERS", "hostName": "host.example", "ipAddr": "10.0.0.1",
        "status": status, "port": {"$": 80, "@enabled": "true"},
        "securePort": {"$": 443, "@enabled": "false"}, "vipAddress": "orders,other",
        "dataCenterInfo": {"@class": "x", "name": "MyOwn"}, "metadata": {"zone": "z1", "version": "2"},
    })
}

fn with_action(mut info: Value, action: &str) -> Value {
    info["actionType"] = json!(action);
    info
}

fn applications(list: &[Value], hash: &str) -> Value {
    json!({"applications": {
        "versions__delta": "1", "apps__hashcode": hash,
        // A single one is no list, as some servers have it.
        "application": {"name": "ORDERS", "instance": list},
    }})
}

fn read(list: &[Value], hash: &str) -> Applications {
    let text = applications(list, hash).to_string();
    read_sound_applications(Format::Json, text.as_bytes())
        .unwrap()
        .0
}

fn hash(list: &[Value]) -> String {
    Local::of(read(list, ""), 0).hash()
}

fn settings(server: &Server) -> Value {
    json!({
        "url": format!("{}/eureka", server.url), "interval": "100ms",
        "username": "me", "password": "hush",
    })
}

#[tokio::test]
async fn everything_is_fetched_once_and_then_deltas() {
    let eureka = Eureka::new(&[info("a", "UP"), info("b", "UP")]);
    let server = eureka.start();
    let mut world = World::of(&KIND, &settings(&server));
    world.until("reset a b").await;
    let c = info("c", "STARTING");
    eureka.state(|state| {
        state.all = vec![info("a", "DOWN"), c.clone()];
        state.delta = vec![
            with_action(info("a", "DOWN"), "MODIFIED"),
            with_action(info("b", "UP"), "DELETED"),
            with_action(c, "ADDED"),
        ];
    });
    let changed = instances(world.until("put a").await);
    assert_eq!(changed[0].state.health, Health::Critical);
    world.until("put c").await;
    world.until("gone b").await;
    assert_eq!(eureka.asked_for_all(), 1);
    let authorization = eureka.0.lock().unwrap().authorization.clone();
    assert_eq!(authorization.as_deref(), Some("Basic bWU6aHVzaA=="));
}

#[tokio::test]
async fn a_hash_that_differs_fetches_everything() {
    let eureka = Eureka::new(&[info("a", "UP")]);
    let server = eureka.start();
    let mut world = World::of(&KIND, &settings(&server));
    world.until("reset a").await;
    // A delta that was missed: it is not in the list, but in the hash.
    eureka.state(|state| state.all.push(info("b", "UP")));
    world.until("reset a b").await;
    assert_eq!(eureka.asked_for_all(), 2);
}

#[tokio::test]
async fn where_deltas_are_turned_off_everything_is_fetched() {
    let eureka = Eureka::new(&[info("a", "UP")]);
    eureka.state(|state| state.refusals[1] = Some(403));
    let server = eureka.start();
    let mut world = World::of(&KIND, &settings(&server));
    world.until("reset a").await;
    eureka.state(|state| state.all.push(info("b", "UP")));
    world.until("reset a b").await;
}

#[tokio::test]
async fn a_server_that_warms_up_changes_nothing() {
    let eureka = Eureka::new(&[info("a", "UP")]);
    let server = eureka.start();
    let mut world = World::of(&KIND, &settings(&server));
    world.until("reset a").await;
    for status in [403, 503] {
        eureka.state(|state| state.refusals = [Some(status); 2]);
        world.until(&format!("stale {status}")).await;
        eureka.state(|state| state.refusals = [None; 2]);
        world.until("reset a").await;
    }
}

#[tokio::test]
async fn the_next_peer_is_asked_when_one_is_not_there() {
    let eureka = Eureka::new(&[info("a", "UP")]);
    let server = eureka.start();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let urls = [
        format!("http://127.0.0.1:{port}/eureka"),
        format!("{}/eureka", server.url),
    ];
    let mut world = World::of(&KIND, &json!({"urls": urls}));
    world.until("reset a").await;
}

#[tokio::test]
async fn what_it_was_told_by_us_is_not_taken_back() {
    let mut ours = info("ours", "UP");
    ours["metadata"][NodeId::ORIGIN] = json!(node(1));
    let eureka = Eureka::new(&[ours, info("a", "UP")]);
    eureka.state(|state| state.node = Some(node(2)));
    let server = eureka.start();
    let mut world = World::of(&KIND, &settings(&server));
    let all = instances(world.until("reset a").await);
    assert_eq!(all[0].metadata[NodeId::ORIGIN], node(2).as_str().into());
    eureka.state(|state| state.node = Some(node(1)));
    world.until("stale this Portolan itself").await;
}

#[tokio::test]
async fn one_that_can_not_be_read_does_not_take_the_others_down() {
    let mut odd = info("odd", "UP");
    odd["port"] = json!({"$": "many", "@enabled": "true"});
    let mut nowhere = info("nowhere", "UP");
    nowhere["ipAddr"] = json!("host.example");
    let server = Eureka::new(&[odd, nowhere, info("a", "UP")]).start();
    let mut world = World::of(&KIND, &settings(&server));
    world.until("reset a").await;
    let example = world.unfit().unwrap();
    assert!(example.contains("host.example"), "{example}");
}

#[tokio::test]
async fn the_next_peer_is_asked_when_one_answers_nonsense() {
    let odd = Server::start(&Env::system(), |_request: Request| async {
        answer(200, &[], "<html>")
    });
    let server = Eureka::new(&[info("a", "UP")]).start();
    let urls = [&odd, &server].map(|server| format!("{}/eureka", server.url));
    let mut world = World::of(&KIND, &json!({"urls": urls}));
    world.until("reset a").await;
}

#[tokio::test]
async fn one_that_can_not_be_read_does_not_end_the_deltas() {
    let mut odd = info("odd", "DOWN");
    odd["port"] = json!({"$": "many", "@enabled": "true"});
    let eureka = Eureka::new(&[odd.clone(), info("a", "UP")]);
    eureka.state(|state| state.hash = Some("DOWN_1_UP_1_".to_owned()));
    let server = eureka.start();
    let mut world = World::of(&KIND, &settings(&server));
    world.until("reset a").await;
    let b = info("b", "UP");
    eureka.state(|state| {
        state.hash = Some("DOWN_1_UP_2_".to_owned());
        state.all.push(b.clone());
        state.delta = vec![with_action(b, "ADDED"), with_action(odd, "MODIFIED")];
    });
    world.until("put b").await;
    assert_eq!(eureka.asked_for_all(), 1);
    // One more that can't be read, or one that was missed: everything is asked for.
    eureka.state(|state| state.hash = Some("DOWN_2_UP_2_".to_owned()));
    while eureka.asked_for_all() < 2 {
        tokio::task::yield_now().await;
    }
}

fn read_info(info: &Value) -> InstanceInfo {
    let text = json!({"instance": info}).to_string();
    read_instance(Format::Json, text.as_bytes()).unwrap()
}

#[test]
fn statuses_ports_and_labels_are_mapped() {
    let source = SourceId::new("test");
    let namespace = portolan_model::Name::parse("default").unwrap();
    let made = |info: &Value| {
        let found = map::found(&read_info(info), &source);
        found.into_instance(&namespace, &source).unwrap()
    };
    let up = made(&info("a", "UP"));
    assert_eq!(up.key.to_string(), "orders");
    assert_eq!(up.zone.as_deref(), Some("z1"));
    assert_eq!(up.version.as_deref(), Some("2"));
    assert_eq!(up.state.health, Health::Passing);
    assert_eq!(up.endpoints.len(), 1);
    assert_eq!(up.metadata["eureka/vipAddress"], "orders,other".into());
    for (status, health, overridden) in [
        ("DOWN", Health::Critical, Override::None),
        ("STARTING", Health::Starting, Override::None),
        ("UNKNOWN", Health::Critical, Override::None),
        ("OUT_OF_SERVICE", Health::Passing, Override::Maintenance),
    ] {
        let state = made(&info("a", status)).state;
        assert_eq!((state.health, state.overridden), (health, overridden));
    }
    let mut secure = info("a", "UP");
    secure["securePort"]["@enabled"] = json!("true");
    secure["overriddenStatus"] = json!("OUT_OF_SERVICE");
    let made = made(&secure);
    assert_eq!(made.endpoints[1].name.as_str(), "secure");
    assert_eq!(made.state.overridden, Override::Maintenance);
}

#[test]
fn expressions_see_what_is_there() {
    let object = map::object(&read_info(&info("a", "UP")));
    assert_eq!(object["app"], "ORDERS");
    assert_eq!(object["port"], 80);
    assert!(!object.contains_key("securePort"), "it is closed");
    assert_eq!(object["metadata"]["version"], "2");
}

#[test]
fn a_delta_is_taken_in_only_if_the_hash_agrees() {
    let mut local = Local::of(read(&[info("a", "UP")], ""), 0);
    let same = read(&[with_action(info("a", "UP"), "ADDED")], "UP_1_");
    assert_eq!(local.take(same).unwrap().len(), 1);
    let more = read(&[with_action(info("b", "UP"), "ADDED")], "UP_2_");
    assert_eq!(local.take(more).unwrap().len(), 1);
    let again = read(&[with_action(info("b", "UP"), "ADDED")], "UP_2_");
    assert_eq!(local.take(again).unwrap().len(), 0, "it is known");
    let missed = read(&[], "UP_3_");
    assert_eq!(local.take(missed), None);
}

#[test]
fn settings_say_what_is_wrong_with_them() {
    let settings = json!({"urls": ["eureka:8761"], "username": "me", "interval": "soon"});
    let problems = (KIND.parse)(&settings).unwrap_err();
    let mut paths: Vec<_> = problems.iter().map(|problem| &*problem.path).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/interval", "/urls/0", "/username"]);
}
