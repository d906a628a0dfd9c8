//! Claims about the admin handler, over a publisher with a plan and a catalogue.

use std::{any::Any, sync::Arc};

use http::{Method, StatusCode, header};
use http_body_util::BodyExt;
use portolan_balance::Board;
use portolan_catalog::{Inbox, InboxHub, Source, SourceKind, SourceRun, SourceSpec, Turn, inboxes};
use portolan_config::{Outside, Plan, Shelves};
use portolan_model::{
    Change, Health, Instance, InstanceId, Name, NamedPort, Revision, ServiceKey, SourceId, State,
    Timestamp, Weight,
};
use portolan_runtime::{Env, Task};
use portolan_snapshot::{Parts as PublisherParts, Publisher, View};
use portolan_telemetry::Meters;
use portolan_wire::serve::{Handler, Request, Response, empty, full};
use serde_json::{Value, json};

use crate::{Admin, Expose, Parts, ROUTES, Readiness, Reload, Reloading, Status};

/// A source without settings that says nothing by itself.
#[derive(Debug)]
struct Still;

impl Source for Still {
    fn run(self: Box<Self>, _: Inbox) -> SourceRun {
        Box::pin(async {})
    }
}

impl SourceSpec for Still {
    fn build(&self, _: &SourceId, _: &Env) -> Box<dyn Source> {
        Box::new(Self)
    }

    fn same_as(&self, other: &dyn SourceSpec) -> bool {
        (other as &dyn Any).is::<Self>()
    }
}

const SOURCES: &[SourceKind] = &[SourceKind {
    name: "still",
    summary: "Says nothing.",
    schema: || json!({"type": "object"}),
    example: "still: {}",
    bad_example: "still: 1",
    mapping: "word -> tags\n",
    parse: |_| Ok(Arc::new(Still)),
}];

struct Counters;

impl Expose for Counters {
    fn expose(&self, out: &mut String) {
        out.push_str("boats 3\n");
    }
}

struct Answer(Result<Revision, String>);

/// Copies anything but what is called `broken`.
struct Copier;

impl crate::Backup for Copier {
    fn backup(&self, name: &Name) -> crate::BackingUp {
        let done = match name.as_str() {
            "broken" => Err("no room".to_owned()),
            name => Ok(crate::Backed {
                file: format!("backups/{name}.redb").into(),
                revision: Revision::FIRST,
            }),
        };
        Box::pin(std::future::ready(done))
    }
}

impl Reload for Answer {
    fn reload(&self) -> Reloading {
        Box::pin(std::future::ready(self.0.clone()))
    }
}

struct World {
    admin: Admin,
    status: Status,
    readiness: Readiness,
    hub: InboxHub,
    _publisher: Task,
}

fn plan(text: &str) -> Plan {
    let outside = Outside {
        shelves: Shelves {
            policies: &[],
            sources: &[SOURCES],
            balancers: portolan_balance::KINDS,
        },
        ..Outside::default()
    };
    portolan_config::read("p.yaml", text, &outside).unwrap()
}

fn world(text: &str) -> World {
    world_that_reloads(text, Ok(Revision::from_u64(7)))
}

fn world_that_reloads(text: &str, reload: Result<Revision, String>) -> World {
    let env = Env::virtual_time(1);
    let (hub, inflow) = inboxes();
    let parts = PublisherParts {
        env: env.clone(),
        meters: Arc::new(Meters::new(1)),
        board: Board::new(1),
        inflow,
        revision: Revision::FIRST,
    };
    let (publisher, view, _plans) = Publisher::new(parts, &Arc::new(plan(text)));
    let readiness = Readiness::default();
    let registry = |request: Request| async move {
        Response::new(full(format!("\"registry {}\"", request.uri().path())))
    };
    World {
        admin: Admin::new(Parts {
            view: View::clone(&view),
            readiness: readiness.clone(),
            metrics: Arc::new(Counters),
            reload: Arc::new(Answer(reload)),
            backup: Arc::new(Copier),
            registry: Arc::new(registry),
        }),
        status: Status::new(view, readiness.clone()),
        readiness,
        hub,
        _publisher: env.spawn("publisher", publisher.run()),
    }
}

/// An answer, read to its end.
struct Read {
    status: u16,
    content_type: String,
    allow: String,
    text: String,
}

impl Read {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

async fn ask(handler: &dyn Handler, method: Method, path: &str) -> Read {
    let request = http::Request::builder().method(method).uri(path);
    let response = handler.handle(request.body(empty()).unwrap()).await;
    let (head, body) = response.into_parts();
    let field = |name| {
        let value = head.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    Read {
        status: head.status.as_u16(),
        content_type: field(header::CONTENT_TYPE),
        allow: field(header::ALLOW),
        text: String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap(),
    }
}

impl World {
    async fn get(&self, path: &str) -> Read {
        ask(&self.admin, Method::GET, path).await
    }

    /// What an explanation says in one sentence.
    async fn summary(&self, url: &str) -> String {
        let read = self.get(&format!("/v1/explain?url={url}")).await;
        assert_eq!(read.status, 200, "{}", read.text);
        read.json()["summary"].as_str().unwrap().to_owned()
    }

    fn source(&mut self, name: &str) -> Inbox {
        self.hub.open(&SourceId::new(name), Turn::Fair)
    }
}

fn instance(id: &str, version: &str, state: State) -> Change {
    let instance = Instance {
        key: ServiceKey::parse("orders").unwrap(),
        id: InstanceId::parse(id).unwrap(),
        endpoints: Box::new([NamedPort {
            name: Name::parse("default").unwrap(),
            address: "127.0.0.1:9001".parse().unwrap(),
        }]),
        zone: None,
        version: Some(version.into()),
        weight: Weight::NORMAL,
        tags: Box::default(),
        metadata: [].into(),
        source: SourceId::new("registry"),
        state,
    };
    Change::Put {
        instance: Arc::new(instance),
    }
}

fn failing() -> State {
    State {
        health: Health::Critical,
        since: Timestamp::from_millis(1_780_272_000_000),
        note: Some("connection refused".into()),
        ..State::default()
    }
}

const SHOP: &str = "\
routes:
  shop: {match: {prefix: /shop}, target: orders}
  bad: {match: {prefix: /bad}, target: orders, colour: red}
upstreams:
  orders: {service: orders}
";

#[tokio::test]
async fn readiness_follows_what_is_said() {
    let world = world("");
    for (is_ready, status) in [(false, 503), (true, 200), (false, 503)] {
        world.readiness.set(is_ready);
        let read = world.get("/ready").await;
        assert_eq!(
            (read.status, &read.json()["ready"]),
            (status, &json!(is_ready))
        );
    }
}

#[tokio::test]
async fn readiness_names_sources_that_are_silent_or_stale() {
    let mut world = world("sources: {one: {still: {}}}");
    let read = world.get("/ready").await.json();
    assert_eq!(read["silent"], json!(["still:one"]));
    let inbox = world.source("still:one");
    let nothing = Change::Reset {
        services: Vec::new(),
        instances: Vec::new(),
    };
    inbox.commit(None, nothing).await.unwrap();
    let read = world.get("/ready").await.json();
    assert_eq!((&read["silent"], &read["stale"]), (&json!([]), &json!([])));
    let reason = "no network".into();
    inbox.commit(None, Change::Stale { reason }).await.unwrap();
    world.readiness.set(true);
    let read = world.get("/ready").await;
    assert_eq!(
        (read.status, &read.json()["stale"]),
        (200, &json!(["still:one"])),
        "stale knowledge is no reason to send traffic away"
    );
}

#[tokio::test]
async fn liveness_does_not_depend_on_readiness() {
    let read = world("").get("/live").await;
    assert_eq!((read.status, read.json()), (200, json!({"live": true})));
}

#[tokio::test]
async fn metrics_are_passed_on_as_they_are_exposed() {
    let read = world("").get("/metrics").await;
    assert_eq!(read.text, "boats 3\n");
    assert!(read.content_type.starts_with("text/plain; version=0.0.4"));
}

#[tokio::test]
async fn configured_objects_are_shown_with_origin_and_quarantine() {
    let world = world(SHOP);
    for path in ["/v1/config", "/v1/routes"] {
        let body = world.get(path).await.json();
        let list = body["objects"]
            .as_array()
            .or_else(|| body["routes"].as_array());
        let named = |name: &str| {
            let mut objects = list.unwrap().iter();
            let is_it = |object: &&Value| object["kind"] == "route" && object["name"] == name;
            objects.find(is_it).unwrap().clone()
        };
        let (shop, bad) = (named("shop"), named("bad"));
        assert_eq!(shop["origin"], "p.yaml:2:3");
        assert_eq!(shop["is_quarantined"], false);
        assert_eq!(shop["findings"], Value::Null);
        assert_eq!(bad["is_quarantined"], true);
        let finding = bad["findings"][0].as_str().unwrap();
        assert!(finding.starts_with("p.yaml:3:48: error: route bad: unknown field"));
    }
    let routes = world.get("/v1/routes").await.json();
    assert_eq!(
        (
            &routes["routes"].as_array().unwrap().len(),
            &routes["automatic"]
        ),
        (&2, &json!(false))
    );
    let config = world.get("/v1/config").await.json();
    assert_eq!(config["findings"][0]["object"], "route bad");
}

#[tokio::test]
async fn upstreams_are_shown_with_who_serves_and_who_is_left_out() {
    let mut world = world(SHOP);
    let inbox = world.source("registry");
    for change in [
        instance("a", "v1", State::default()),
        instance("b", "v1", failing()),
    ] {
        inbox.commit(None, change).await.unwrap();
    }
    let body = world.get("/v1/upstreams").await.json();
    let orders = &body["upstreams"][0];
    assert_eq!(orders["endpoints"][0]["address"], "127.0.0.1:9001");
    assert_eq!(
        orders["left_out"],
        json!([{
            "service": "orders",
            "id": "b",
            "reason": "critical",
            "since": "2026-06-01T00:00:00.000Z",
            "note": "connection refused",
        }])
    );
}

#[tokio::test]
async fn an_explanation_names_the_route_and_its_targets() {
    let mut world = world(SHOP);
    let inbox = world.source("registry");
    inbox
        .commit(None, instance("a", "v1", State::default()))
        .await
        .unwrap();
    let url = "/v1/explain?url=http://a.example/shop/cart&method=POST&header=x-a:+b";
    let body = world.get(url).await.json();
    assert_eq!(body["request"], "POST a.example/shop/cart");
    assert_eq!(body["summary"], "route shop gets it and sends it to orders");
    assert_eq!(body["route"], "shop");
    assert_eq!(body["targets"][0]["share_percent"], 100.0);
    assert_eq!(body["targets"][0]["endpoints"][0]["id"], "a");
    let mut rules = body["rules"].as_array().unwrap().iter();
    let shop = rules.find(|rule| rule["route"] == "shop").unwrap();
    assert_eq!(
        (&shop["path"], &shop["verdict"]),
        (&json!("prefix /shop"), &json!("wins"))
    );
    assert_eq!(
        world.summary("http://a.example/nowhere").await,
        "404: no route matches"
    );
    let bad = world.summary("http://a.example/bad").await;
    assert!(bad.starts_with("route bad is in quarantine"), "{bad}");
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_400() {
    let world = world(SHOP);
    for query in [
        "",
        "url=http://a%20b/",
        "url=http://a/&method=a%20b",
        "url=http://a/&header=x",
        "url=http://a/&listener=none",
        "url=%zz",
    ] {
        let read = world.get(&format!("/v1/explain?{query}")).await;
        assert_eq!(read.status, 400, "{query}");
        assert_eq!(read.json()["cause"], "request_malformed", "{query}");
    }
}

#[tokio::test]
async fn an_explanation_says_why_nobody_can_serve() {
    let mut world = world(SHOP);
    assert_eq!(
        world.summary("http://a/shop").await,
        "route shop gets it for orders and answers 404: no service is called orders"
    );
    let inbox = world.source("registry");
    inbox
        .commit(None, instance("a", "v1", failing()))
        .await
        .unwrap();
    assert_eq!(
        world.summary("http://a/shop").await,
        "route shop gets it for orders and answers 503: service orders: 1 instance, \
         failing since 2026-06-01T00:00:00.000Z (connection refused)"
    );
    let leaving = State {
        leaving: true,
        ..State::default()
    };
    for change in [instance("b", "v1", failing()), instance("c", "v1", leaving)] {
        inbox.commit(None, change).await.unwrap();
    }
    assert_eq!(
        world.summary("http://a/shop").await,
        "route shop gets it for orders and answers 503: service orders: 3 instances, \
         2 failing since 2026-06-01T00:00:00.000Z (connection refused), 1 leaving"
    );
}

#[tokio::test]
async fn an_explanation_tells_the_subsets_of_an_upstream_apart() {
    let mut world = world(
        "routes:\n  shop: {targets: [{upstream: orders, subset: {version: v1}}, \
         {upstream: orders, subset: {version: v2}}]}\nupstreams:\n  orders: {service: orders}\n",
    );
    let inbox = world.source("registry");
    inbox
        .commit(None, instance("a", "v1", State::default()))
        .await
        .unwrap();
    assert_eq!(
        world.summary("http://a/").await,
        "route shop gets it and sends it to orders (version=v1) or orders (version=v2); \
         what is for orders (version=v2) is answered 503: service orders: \
         no instances with version=v2"
    );
    inbox
        .commit(None, instance("b", "v2", State::default()))
        .await
        .unwrap();
    assert_eq!(
        world.summary("http://a/").await,
        "route shop gets it and sends it to orders (version=v1) or orders (version=v2)"
    );
}

#[tokio::test]
async fn the_built_in_lane_is_explained_by_the_names_of_services() {
    let mut world = world("");
    assert_eq!(
        world.summary("http://localhost/orders/").await,
        "404: no service is called orders"
    );
    let inbox = world.source("registry");
    inbox
        .commit(None, instance("a", "v1", failing()))
        .await
        .unwrap();
    let summary = world.summary("http://orders.localhost/").await;
    assert!(
        summary.starts_with("the built-in lane answers 503: service orders: 1 instance, failing"),
        "{summary}"
    );
    inbox
        .commit(None, instance("a", "v1", State::default()))
        .await
        .unwrap();
    assert_eq!(
        world.summary("http://localhost/orders/x").await,
        "the built-in lane sends it to the service orders"
    );
}

#[tokio::test]
async fn a_reload_is_answered_with_its_revision_or_with_what_is_wrong() {
    let reload =
        |world: World| async move { ask(&world.admin, Method::POST, "/v1/config/reload").await };
    let read = reload(world("")).await;
    assert_eq!((read.status, read.json()), (200, json!({"revision": 7})));
    let failed = world_that_reloads("", Err("p.yaml:1:1: error".to_owned()));
    let read = reload(failed).await;
    assert_eq!(read.status, 422);
    assert_eq!(read.json()["cause"], "configuration_invalid");
    assert_eq!(read.json()["detail"], "p.yaml:1:1: error");
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_are_taken() {
    let world = world("");
    for (method, path) in ROUTES {
        let read = ask(&world.admin, Method::DELETE, path).await;
        assert_eq!(read.status, 405, "{path}");
        assert_eq!(read.allow, method.to_uppercase(), "{path}");
        assert_eq!(read.content_type, "application/problem+json");
    }
    assert_eq!(ask(&world.admin, Method::HEAD, "/live").await.status, 200);
}

#[tokio::test]
async fn unknown_paths_are_404_and_those_of_the_registry_go_there() {
    let world = world("");
    let read = world.get("/nowhere").await;
    assert_eq!(read.status, 404);
    assert_eq!(read.content_type, "application/problem+json");
    assert_eq!(read.json()["cause"], "path_unknown");
    assert_eq!(read.json()["type"], "about:blank");
    let read = world.get("/v1/services").await;
    assert_eq!(read.json(), "registry /v1/services");
}

#[tokio::test]
async fn the_status_listener_serves_liveness_and_readiness_alone() {
    let world = world("");
    for (method, path) in ROUTES {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let read = ask(&world.status, method, path).await;
        let expected = match *path {
            "/live" => StatusCode::OK,
            "/ready" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::NOT_FOUND,
        };
        assert_eq!(read.status, expected.as_u16(), "{path}");
    }
    assert_eq!(ask(&world.status, Method::POST, "/live").await.status, 405);
}

#[tokio::test]
async fn the_home_page_counts_and_lists_what_is_here() {
    let mut world = world("");
    let read = world.get("/").await;
    assert!(
        read.text.starts_with("Portolan: 0 services, 0 instances,"),
        "{}",
        read.text
    );
    for (_, path) in ROUTES.iter().filter(|(_, path)| *path != "/") {
        assert!(read.text.contains(path), "{path}");
    }
    let inbox = world.source("registry");
    inbox
        .commit(None, instance("a", "v1", State::default()))
        .await
        .unwrap();
    let read = world.get("/").await;
    assert!(
        read.text.starts_with("Portolan: 1 service, 1 instance,"),
        "{}",
        read.text
    );
}

#[test]
fn the_reference_describes_every_route_and_no_other() {
    let document: Value =
        serde_json::from_str(include_str!("../../../docs/reference/openapi.json")).unwrap();
    let mut described = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["tags"] == json!(["admin"]) {
                described.push((method.as_str(), path.as_str()));
            }
        }
    }
    described.sort_unstable();
    let mut routes = ROUTES.to_vec();
    routes.sort_unstable();
    assert_eq!(described, routes);
}
