//! Claims about the `portolan` source.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use portolan_dialects::native::InstanceView;
use portolan_model::{Health, NodeId, Override};
use portolan_runtime::Env;
use portolan_wire::serve::{Request, Response, streamed};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::KIND;
use crate::testing::{Server, World, answer, field, instances, node};

/// Another Portolan, which says what the test says.
#[derive(Clone)]
struct Other(Arc<Mutex<State>>);

struct State {
    node: NodeId,
    /// The stream that is open.
    open: Option<mpsc::UnboundedSender<String>>,
    /// What every stream begins with, after a resumption or not.
    begins: Vec<String>,
    /// Where each stream was taken up.
    resumed: Vec<Option<String>>,
    refusal: Option<u16>,
}

impl Other {
    fn new(number: u64, begins: &[String]) -> Self {
        Self(Arc::new(Mutex::new(State {
            node: node(number),
            open: None,
            begins: begins.to_vec(),
            resumed: Vec::new(),
            refusal: None,
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
        if let Some(status) = state.refusal {
            return answer(status, &[], "no rights");
        }
        assert_eq!(request.uri().path(), "/v1/watch");
        let resumed = field(request.headers(), "last-event-id");
        let (sender, receiver) = mpsc::unbounded_channel();
        sender.send("retry: 1000\n\n".to_owned()).unwrap();
        if resumed.is_none() {
            for event in &state.begins {
                sender.send(event.clone()).unwrap();
            }
        }
        state.resumed.push(resumed);
        state.open = Some(sender);
        let next = |mut receiver: mpsc::UnboundedReceiver<String>| async move {
            let piece = receiver.recv().await?;
            Some((Bytes::from(piece), receiver))
        };
        let mut response = answer(200, &[], "");
        *response.body_mut() = streamed(receiver, next);
        let signature = state.node.as_str().parse().unwrap();
        response.headers_mut().insert(NodeId::FIELD, signature);
        response
    }

    fn say(&self, event: String) {
        let state = self.0.lock().unwrap();
        state.open.as_ref().unwrap().send(event).unwrap();
    }

    fn hang_up(&self) {
        self.0.lock().unwrap().open = None;
    }

    fn resumed(&self) -> Vec<Option<String>> {
        self.0.lock().unwrap().resumed.clone()
    }
}

fn view(id: &str) -> Value {
    json!({
        "service": "orders", "namespace": "default", "id": id,
        "endpoints": {"grpc": "10.0.0.9:81", "web": "10.0.0.1:80"}, "port": "web",
        "weight": 100, "source": "registry", "status": "passing", "is_open": true,
        "later": "fields that are not known yet",
    })
}

fn put(view: &Value) -> String {
    format!("event: put\ndata: {view}\n\n")
}

fn gone(id: &str) -> String {
    let gone = json!({"service": "orders", "namespace": "default", "id": id});
    format!("event: remove\ndata: {gone}\n\n")
}

fn reset() -> String {
    "event: reset\ndata: {\"revision\":7}\n\n".to_owned()
}

fn synced(revision: u64) -> String {
    format!("id: {revision}\nevent: synced\ndata: {{\"revision\":{revision}}}\n\n")
}

fn settings(server: &Server) -> Value {
    json!({"url": server.url})
}

#[tokio::test]
async fn everything_is_said_and_then_what_changes() {
    let other = Other::new(2, &[reset(), put(&view("a")), put(&view("b")), synced(7)]);
    let server = other.start();
    let mut world = World::of(&KIND, &settings(&server));
    let all = instances(world.until("reset a b").await);
    let first = &all[0];
    assert_eq!(first.metadata[NodeId::ORIGIN], node(2).as_str().into());
    let endpoints: Vec<_> = first
        .endpoints
        .iter()
        .map(|endpoint| format!("{} {}", endpoint.name, endpoint.address))
        .collect();
    assert_eq!(endpoints, ["web 10.0.0.1:80", "grpc 10.0.0.9:81"]);
    other.say(put(&view("c")) + &gone("a") + &synced(8));
    world.until("put c").await;
    world.until("left a").await;
}

#[tokio::test]
async fn a_watch_is_taken_up_where_it_ended() {
    let other = Other::new(2, &[reset(), put(&view("a")), synced(7)]);
    let server = other.start();
    let mut world = World::of(&KIND, &settings(&server));
    world.until("reset a").await;
    other.hang_up();
    // The outage is shorter than what is worth telling: only what is new is said.
    while other.resumed().len() < 2 {
        tokio::task::yield_now().await;
    }
    other.say(put(&view("b")) + &synced(9));
    world.until("put b").await;
    assert_eq!(other.resumed(), [None, Some("7".to_owned())]);
    assert_eq!(world.besides(), [""; 0]);
}

#[tokio::test]
async fn revisions_of_another_portolan_mean_nothing() {
    let other = Other::new(2, &[reset(), put(&view("a")), synced(7)]);
    let server = other.start();
    let mut world = World::of(&KIND, &settings(&server));
    world.until("reset a").await;
    {
        let mut state = other.0.lock().unwrap();
        state.node = node(3);
        state.begins = vec![reset(), put(&view("b")), synced(1)];
        state.open = None;
    }
    world.until("reset b").await;
    assert_eq!(other.resumed(), [None, Some("7".to_owned()), None]);
}

#[tokio::test]
async fn what_it_was_told_by_us_is_not_taken_back() {
    let mut ours = view("ours");
    ours["metadata"] = json!({NodeId::ORIGIN: node(1)});
    let mut third = view("third");
    third["metadata"] = json!({NodeId::ORIGIN: node(3)});
    let events = [reset(), put(&ours), put(&third), put(&view("a")), synced(7)];
    let server = Other::new(2, &events).start();
    let mut world = World::of(&KIND, &settings(&server));
    let all = instances(world.until("reset a third").await);
    let origin = |id: &str| {
        let found = all.iter().find(|instance| instance.id.as_str() == id);
        found.unwrap().metadata[NodeId::ORIGIN].to_string()
    };
    assert_eq!(origin("a"), node(2).as_str());
    assert_eq!(origin("third"), node(3).as_str());
}

#[tokio::test]
async fn a_portolan_that_reads_itself_says_so() {
    let server = Other::new(1, &[reset(), put(&view("a")), synced(7)]).start();
    let mut world = World::of(&KIND, &settings(&server));
    world.until("stale this Portolan itself").await;
    assert!(world.besides().iter().all(|said| said.starts_with("stale")));
}

#[tokio::test]
async fn namespaces_are_mapped_and_others_left_out() {
    let mut theirs = view("theirs");
    theirs["namespace"] = json!("prod");
    let events = [reset(), put(&view("a")), put(&theirs), synced(7)];
    let other = Other::new(2, &events);
    let server = other.start();
    let settings = json!({
        "url": server.url,
        "namespaces": {"prod": "east"},
        "map": {"service": "service + \"-east\""},
    });
    let mut world = World::of(&KIND, &settings);
    let all = instances(world.until("reset theirs").await);
    assert_eq!(all[0].key.to_string(), "east/orders-east");
    // What is gone is found under the name that it was given here.
    let gone = json!({"service": "orders", "namespace": "prod", "id": "theirs"});
    other.say(format!("event: remove\ndata: {gone}\n\n"));
    world.until("left theirs").await;
}

/// The instance in one of their namespaces, at a port.
fn of_namespace(namespace: &str, port: u16) -> Value {
    let mut view = view("a");
    view["namespace"] = json!(namespace);
    view["endpoints"] = json!({"web": format!("10.0.0.1:{port}")});
    view
}

#[tokio::test]
async fn an_instance_that_two_namespaces_have_stays_while_one_does() {
    let events = [
        reset(),
        put(&of_namespace("us", 82)),
        put(&of_namespace("eu", 81)),
        synced(7),
    ];
    let other = Other::new(2, &events);
    let server = other.start();
    let settings = json!({"url": server.url, "namespaces": {"eu": "default", "us": "default"}});
    let mut world = World::of(&KIND, &settings);
    let port = |change| instances(change)[0].endpoints[0].address.port();
    assert_eq!(port(world.until("reset a").await), 81);
    let gone = |namespace: &str| {
        let gone = json!({"service": "orders", "namespace": namespace, "id": "a"});
        format!("event: remove\ndata: {gone}\n\n")
    };
    other.say(gone("eu") + &synced(8));
    assert_eq!(port(world.until("put a").await), 82);
    let mut after = view("b");
    after["namespace"] = json!("eu");
    other.say(put(&of_namespace("eu", 81)) + &gone("us") + &put(&after) + &synced(9));
    assert_eq!(port(world.until("put a").await), 81);
    world.until("put b").await;
    assert_eq!(world.besides(), [""; 0]);
    other.say(gone("eu") + &synced(10));
    world.until("left a").await;
}

#[tokio::test]
async fn an_instance_that_can_not_be_read_any_more_keeps_what_it_said() {
    let other = Other::new(2, &[reset(), put(&view("a")), synced(7)]);
    let server = other.start();
    let mut world = World::of(&KIND, &settings(&server));
    world.until("reset a").await;
    let mut spoilt = view("a");
    spoilt["endpoints"] = json!({});
    other.say(put(&spoilt) + &put(&view("b")) + &synced(8));
    world.until("put b").await;
    let unfit = world.unfit().unwrap_or_default();
    assert!(unfit.starts_with("default/orders/a: "), "{unfit}");
    other.say(reset() + &put(&spoilt) + &put(&view("c")) + &synced(9));
    world.until("reset a c").await;
    assert_eq!(world.besides(), [""; 0]);
    other.say(put(&view("a")) + &gone("c") + &synced(10));
    world.until("left c").await;
    assert_eq!(world.unfit(), None);
    other.say(put(&spoilt) + &gone("a") + &synced(11));
    world.until("left a").await;
}

#[tokio::test]
async fn a_refusal_is_told_with_what_to_do() {
    let other = Other::new(2, &[]);
    other.0.lock().unwrap().refusal = Some(403);
    let server = other.start();
    let mut world = World::of(&KIND, &settings(&server));
    world.until("stale 403 Forbidden (may this token").await;
}

#[tokio::test]
async fn what_operators_said_over_there_holds_here() {
    let mut drained = view("drained");
    drained["override"] = json!("drain");
    let mut out = view("out");
    out["override"] = json!("maintenance");
    out["status"] = json!("critical");
    let mut ruled = view("ruled");
    ruled["ruling"] = json!({"weight": 7, "at": "2026-01-01T00:00:00Z"});
    let events = [reset(), put(&drained), put(&out), put(&ruled), synced(7)];
    let server = Other::new(2, &events).start();
    let mut world = World::of(&KIND, &settings(&server));
    let all = instances(world.until("reset drained out ruled").await);
    assert_eq!(all[0].state.overridden, Override::Drain);
    assert_eq!(all[1].state.overridden, Override::Maintenance);
    assert_eq!(all[1].state.health, Health::Critical);
    assert_eq!(all[2].weight.as_u16(), 7);
}

#[test]
fn an_answer_of_ours_is_read_as_it_was_written() {
    let read: InstanceView = serde_json::from_value(view("a")).unwrap();
    assert_eq!(&*read.id, "a");
}

#[test]
fn settings_say_what_is_wrong_with_them() {
    let parse = |settings| (KIND.parse)(&settings).unwrap_err();
    let problems = parse(
        json!({"urls": ["registry:9070"], "namespaces": {"default": "a b", "a b": "c"}, "colour": 1}),
    );
    let mut paths: Vec<_> = problems.iter().map(|problem| &*problem.path).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "/colour",
            "/namespaces/a b",
            "/namespaces/default",
            "/urls/0"
        ]
    );
}
