//! Claims about the `kubernetes` source.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use http::{HeaderMap, StatusCode};
use portolan_catalog::{Arrival, InboxHub, Inflow, News as Heard, Turn, inboxes};
use portolan_model::{Change, Departure, Health, SourceId};
use portolan_runtime::{Env, Task};
use portolan_sources::frame::{Ended, Follow, Teller, follow};
use portolan_testkit::Scratch;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    api::{Api, Failure, Opening, refusal},
    cluster::{Cluster, Kind},
    collection::Collection,
    map::NAMES,
    settings::{self, Settings},
    watch::{KubernetesSource, collections},
    watcher::{Event, Lists, News, Next, Told},
};
use crate::hostile::json_of;

#[expect(
    clippy::needless_pass_by_value,
    reason = "so that calls read as settings do"
)]
fn settings(text: Value) -> Settings {
    settings::read(&text).unwrap()
}

fn source() -> SourceId {
    SourceId::new("kubernetes:test")
}

fn service(name: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name, "labels": {"app.kubernetes.io/version": "1.4", "tier": "web"}},
        "spec": {"type": "ClusterIP", "ports": [{"name": "http"}, {"name": "grpc"}]},
    })
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[name] = value;
    object
}

fn endpoint(pod: &str, address: &str) -> Value {
    json!({"addresses": [address], "zone": "z1", "nodeName": "n1", "targetRef": {"kind": "Pod", "name": pod}})
}

fn slice(name: &str, service: &str, endpoints: &[Value]) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "grpc", "port": 9090}, {"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        "endpoints": endpoints,
    })
}

fn conditions(endpoint: Value, conditions: Value) -> Value {
    with(endpoint, "/conditions", conditions)
}

fn cluster(services: &[Value], slices: &[Value]) -> Cluster {
    let mut cluster = Cluster::default();
    cluster.replace(Kind::Services, None, services.to_vec());
    cluster.replace(Kind::Slices, None, slices.to_vec());
    cluster
}

/// The instances, in a few words each.
fn words(cluster: &Cluster) -> Vec<String> {
    let said = cluster.view(&settings(json!({})), &source());
    let words = said.view.instances().map(|one| {
        let health = format!("{:?}", one.state.health).to_lowercase();
        let leaving = if one.state.leaving { " leaving" } else { "" };
        format!(
            "{} {} {} {health}{leaving}",
            one.key, one.id, one.endpoints[0].address
        )
    });
    words.collect()
}

#[test]
fn a_service_and_its_slice_become_instances() {
    let mut cluster = cluster(
        &[service("orders")],
        &[slice("orders-1", "orders", &[endpoint("a", "10.1.0.1")])],
    );
    let said = cluster.view(&settings(json!({})), &source());
    let one = said.view.instances().next().unwrap();
    assert_eq!(
        (one.key.to_string(), one.id.as_str()),
        ("shop/orders".to_owned(), "a")
    );
    let ports: Vec<_> = one
        .endpoints
        .iter()
        .map(|port| format!("{} {}", port.name, port.address))
        .collect();
    assert_eq!(
        ports,
        ["http 10.1.0.1:8080", "grpc 10.1.0.1:9090"],
        "in the Service's order, TCP only"
    );
    assert_eq!(
        (one.zone.as_deref(), one.version.as_deref()),
        (Some("z1"), Some("1.4"))
    );
    assert_eq!(one.metadata.get("tier").map(|text| &**text), Some("web"));
    assert_eq!(one.metadata.get("node").map(|text| &**text), Some("n1"));
    // Labels of the pod win over those of the Service.
    let pod = json!({"metadata": {"namespace": "shop", "name": "a", "labels": {"app.kubernetes.io/version": "1.5"}}});
    let changed = cluster.put(Kind::Pods, pod);
    assert_eq!(changed, [("shop".to_owned(), "orders".to_owned())]);
    let said = cluster.view(&settings(json!({})), &source());
    assert_eq!(
        said.view.instances().next().unwrap().version.as_deref(),
        Some("1.5")
    );
}

#[test]
fn conditions_that_nobody_set_mean_ready() {
    for (given, expected) in [
        (json!({}), "passing"),
        (json!({"ready": null}), "passing"),
        (
            json!({"ready": true, "serving": true, "terminating": false}),
            "passing",
        ),
        (json!({"ready": false}), "critical"),
        (
            json!({"ready": false, "serving": true, "terminating": true}),
            "passing leaving",
        ),
        (
            json!({"ready": false, "serving": false, "terminating": true}),
            "critical leaving",
        ),
    ] {
        let endpoints = [
            endpoint("b", "10.1.0.2"),
            conditions(endpoint("a", "10.1.0.1"), given.clone()),
        ];
        let cluster = cluster(&[service("orders")], &[slice("s", "orders", &endpoints)]);
        assert_eq!(
            words(&cluster)[0],
            format!("shop/orders a 10.1.0.1:8080 {expected}"),
            "{given}"
        );
    }
}

#[test]
fn where_nobody_is_ready_those_that_still_serve_get_traffic() {
    let leaving = conditions(
        endpoint("a", "10.1.0.1"),
        json!({"ready": false, "serving": true, "terminating": true}),
    );
    let starting = conditions(endpoint("b", "10.1.0.2"), json!({"ready": false}));
    let cluster = cluster(
        &[service("orders")],
        &[slice("s", "orders", &[leaving, starting])],
    );
    assert_eq!(
        words(&cluster),
        [
            "shop/orders a 10.1.0.1:8080 warning",
            "shop/orders b 10.1.0.2:8080 critical"
        ]
    );
}

#[test]
fn a_service_may_publish_what_is_not_ready() {
    let starting = conditions(endpoint("a", "10.1.0.1"), json!({"ready": false}));
    let publishing = with(
        service("orders"),
        "/spec/publishNotReadyAddresses",
        json!(true),
    );
    let cluster = cluster(&[publishing], &[slice("s", "orders", &[starting])]);
    assert_eq!(words(&cluster), ["shop/orders a 10.1.0.1:8080 passing"]);
}

#[test]
fn slices_are_one_and_an_endpoint_in_two_of_them_is_one() {
    let other_port = with(
        slice(
            "s2",
            "orders",
            &[endpoint("b", "10.1.0.2"), endpoint("a", "10.1.0.1")],
        ),
        "/ports",
        json!([{"name": "http", "port": 8081}]),
    );
    let cluster = cluster(
        &[service("orders")],
        &[
            slice("s1", "orders", &[endpoint("a", "10.1.0.1")]),
            other_port,
        ],
    );
    assert_eq!(
        words(&cluster),
        [
            "shop/orders a 10.1.0.1:8080 passing",
            "shop/orders b 10.1.0.2:8081 passing"
        ]
    );
}

#[test]
fn of_two_families_the_first_of_the_service_is_used() {
    let six = with(
        slice(
            "s6",
            "orders",
            &[endpoint("a", "fd00::1"), endpoint("b", "fd00::2")],
        ),
        "/addressType",
        json!("IPv6"),
    );
    let four = slice("s4", "orders", &[endpoint("a", "10.1.0.1")]);
    let one = cluster(&[service("orders")], &[six.clone(), four.clone()]);
    assert_eq!(
        words(&one),
        [
            "shop/orders a 10.1.0.1:8080 passing",
            "shop/orders b [fd00::2]:8080 passing"
        ]
    );
    let prefers_six = with(
        service("orders"),
        "/spec/ipFamilies",
        json!(["IPv6", "IPv4"]),
    );
    let one = cluster(&[prefers_six], &[six, four]);
    assert_eq!(words(&one)[0], "shop/orders a [fd00::1]:8080 passing");
}

#[test]
fn what_can_t_be_used_is_passed_over_with_a_reason() {
    let external = with(
        service("mail"),
        "/spec",
        json!({"type": "ExternalName", "externalName": "mail.example"}),
    );
    let names = with(slice("f", "orders", &[]), "/addressType", json!("FQDN"));
    let portless = with(
        slice("p", "orders", &[endpoint("a", "10.1.0.1")]),
        "/ports",
        json!(null),
    );
    let odd = slice(
        "o",
        "orders",
        &[
            json!({"addresses": ["somewhere"]}),
            endpoint("b", "10.1.0.2"),
        ],
    );
    let cluster = cluster(&[external, service("orders")], &[names, portless, odd]);
    assert_eq!(words(&cluster), ["shop/orders b 10.1.0.2:8080 passing"]);
    let place = |name: &str| ("shop".to_owned(), name.to_owned());
    let unfit = |name: &str| {
        let made = cluster
            .made(&place(name), &settings(json!({})), &source())
            .unwrap();
        made.unfit
            .into_iter()
            .map(|(what, why)| format!("{what}: {why}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        unfit("mail"),
        [": it stands for the host name `mail.example`, which is for a `dns` source"]
    );
    assert_eq!(
        unfit("orders"),
        [
            "slice f: it holds host names, which are for a `dns` source",
            "slice o: it has no IP address",
            "a: it has no port"
        ]
    );
}

#[test]
fn hosts_of_a_headless_service_and_bare_addresses_are_ids() {
    let host = json!({"addresses": ["10.1.0.1"], "hostname": "db-0"});
    let bare = json!({"addresses": ["10.1.0.2"]});
    let headless = with(service("db"), "/spec/clusterIP", json!("None"));
    let cluster = cluster(&[headless], &[slice("s", "db", &[host, bare])]);
    assert_eq!(
        words(&cluster),
        [
            "shop/db 10.1.0.2 10.1.0.2:8080 passing",
            "shop/db db-0 10.1.0.1:8080 passing"
        ]
    );
}

#[test]
fn slices_without_a_service_that_is_wanted_say_nothing() {
    let cluster = cluster(&[], &[slice("s", "orders", &[endpoint("a", "10.1.0.1")])]);
    assert_eq!(words(&cluster), [""; 0]);
}

#[test]
fn expressions_see_every_field_that_is_promised() {
    let cluster = cluster(
        &[service("orders")],
        &[slice("s", "orders", &[endpoint("a", "10.1.0.1")])],
    );
    let map = json!({"zone": "endpoint.nodeName", "version": "labels.tier", "service": "namespace + '-' + name"});
    let said = cluster.view(
        &settings(json!({"map": map, "only": "type == 'ClusterIP'"})),
        &source(),
    );
    let one = said.view.instances().next().unwrap();
    assert_eq!(
        (one.zone.as_deref(), one.version.as_deref()),
        (Some("n1"), Some("web"))
    );
    assert_eq!(one.key.to_string(), "shop/shop-orders");
    assert_eq!(NAMES.len(), 8);
}

#[test]
fn refusals_say_which_verb_on_what() {
    let slices = Collection {
        kind: Kind::Slices,
        namespace: Some("shop".to_owned()),
        selector: None,
    };
    let said = |status: StatusCode, message: &str| match refusal(
        "https://k",
        (&slices, "watch"),
        status,
        message,
        &HeaderMap::new(),
    ) {
        Failure::Forgotten => "forgotten".to_owned(),
        Failure::Ended(Ended::Lost { reason, .. }) => reason,
        Failure::Ended(Ended::Closed) => "closed".to_owned(),
    };
    assert_eq!(
        said(StatusCode::FORBIDDEN, "User \"x\" cannot watch"),
        "https://k: our account may not watch endpointslices of discovery.k8s.io in namespace shop; it needs the verbs list and watch on them: User \"x\" cannot watch"
    );
    assert_eq!(
        said(StatusCode::GONE, "too old resource version"),
        "forgotten"
    );
    assert_eq!(
        said(
            StatusCode::GATEWAY_TIMEOUT,
            "Timeout: Too large resource version: 9"
        ),
        "forgotten"
    );
    assert!(said(StatusCode::UNAUTHORIZED, "").contains("does not know us"));
}

#[test]
fn every_kind_is_watched_in_every_namespace_that_is_named() {
    let read = collections(&settings(
        json!({"namespaces": ["a", "b", "a"], "pods": true, "selector": "tier=web"}),
    ));
    let words: Vec<_> = read
        .iter()
        .map(|one| format!("{:?} {:?} {:?}", one.kind, one.namespace, one.selector))
        .collect();
    assert_eq!(words.len(), 6);
    assert_eq!(words[0], r#"Services Some("a") Some("tier=web")"#);
    assert_eq!(words[3], r#"Slices Some("b") None"#);
    assert_eq!(collections(&settings(json!({}))).len(), 2);
}

/// A source whose watchers are the test.
struct Fed {
    source: KubernetesSource,
    env: Env,
    heard: mpsc::Receiver<Told>,
    closed: BTreeSet<usize>,
}

impl Follow for Fed {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        self.closed = [0, 1].into();
        loop {
            let at = self.source.settles_at();
            let settling = async {
                match at {
                    Some(at) => self.env.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(news) = self.heard.recv() => self.source.take(news, &mut self.closed, teller).await?,
                () = settling => self.source.settle(teller).await?,
            }
        }
    }
}

struct World {
    env: Env,
    tell: mpsc::Sender<Told>,
    inflow: Inflow,
    _hub: InboxHub,
    _task: Task,
}

impl World {
    fn new() -> Self {
        Self::with(json!({}))
    }

    fn with(text: Value) -> Self {
        let env = Env::virtual_time(1);
        let (mut hub, inflow) = inboxes();
        let inbox = hub.open(&source(), Turn::Fair);
        let (tell, heard) = mpsc::channel(64);
        let fed = Fed {
            source: KubernetesSource::new(settings(text), source(), env.clone()),
            env: env.clone(),
            heard,
            closed: BTreeSet::new(),
        };
        let task = env.spawn("source", follow(fed, inbox, env.clone()));
        Self {
            env,
            tell,
            inflow,
            _hub: hub,
            _task: task,
        }
    }

    /// A world that knows one Service with one slice.
    async fn settled() -> Self {
        let mut world = Self::new();
        world.listed(0, vec![service("orders")]).await;
        assert_eq!(
            world.said(1).await,
            [""; 0],
            "nothing before everything is listed"
        );
        world
            .listed(
                1,
                vec![slice(
                    "s1",
                    "orders",
                    &[endpoint("a", "10.1.0.1"), endpoint("b", "10.1.0.2")],
                )],
            )
            .await;
        assert_eq!(world.said(1).await, ["reset a b"]);
        world
    }

    async fn tell(&self, index: usize, news: News) {
        self.tell.send((index, news)).await.unwrap();
    }

    async fn listed(&self, index: usize, objects: Vec<Value>) {
        self.tell(
            index,
            News::Listed {
                objects,
                version: "1".to_owned(),
            },
        )
        .await;
    }

    async fn changed(&self, index: usize, event: Event, object: Value) {
        self.tell(
            index,
            News::Changed {
                event,
                object,
                version: "2".to_owned(),
            },
        )
        .await;
    }

    async fn said(&mut self, seconds: u64) -> Vec<String> {
        self.said_within(Duration::from_secs(seconds)).await
    }

    async fn said_within(&mut self, span: Duration) -> Vec<String> {
        let mut said = Vec::new();
        let env = self.env.clone();
        let listening = async {
            loop {
                let batch = self.inflow.batch(64).await.into_iter();
                said.extend(batch.filter_map(|arrival| said_by(&arrival)));
            }
        };
        let _over = env.timeout(span, listening).await;
        said
    }
}

/// What a source said, if that is what arrived.
fn said_by(arrival: &Arrival) -> Option<String> {
    let Heard::Said(change) = &arrival.saying.news else {
        return None;
    };
    Some(change_words(change))
}

fn change_words(change: &Change) -> String {
    match change {
        Change::Reset { instances, .. } => {
            let ids: Vec<_> = instances.iter().map(|one| one.id.as_str()).collect();
            format!("reset {}", ids.join(" "))
        }
        Change::Put { instance } if instance.state.health == Health::Passing => {
            format!("put {}", instance.id)
        }
        Change::Put { instance } => format!("put {} {:?}", instance.id, instance.state.health),
        Change::Remove {
            id,
            departure: Departure::Explicit,
            ..
        } => format!("remove {id}"),
        Change::Remove {
            id,
            departure: Departure::Inferred,
            ..
        } => format!("miss {id}"),
        Change::Stale { reason } => format!("stale {reason}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_moves_between_slices_never_goes() {
    let mut world = World::settled().await;
    world
        .changed(
            1,
            Event::Put,
            slice("s1", "orders", &[endpoint("a", "10.1.0.1")]),
        )
        .await;
    world
        .changed(
            1,
            Event::Put,
            slice("s2", "orders", &[endpoint("b", "10.1.0.2")]),
        )
        .await;
    assert_eq!(world.said(1).await, [""; 0]);
    world
        .changed(
            1,
            Event::Gone,
            slice("s2", "orders", &[endpoint("b", "10.1.0.2")]),
        )
        .await;
    assert_eq!(world.said(1).await, ["remove b"]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_never_stops_moving_never_goes_and_one_that_left_meanwhile_does() {
    let mut world = World::settled().await;
    let mut said = Vec::new();
    for number in 0..40 {
        let (here, there) = if number % 2 == 0 {
            ("s1", "s2")
        } else {
            ("s2", "s1")
        };
        world
            .changed(1, Event::Put, slice(here, "orders", &[]))
            .await;
        said.extend(world.said_within(Duration::from_millis(30)).await);
        let moved = slice(there, "orders", &[endpoint("a", "10.1.0.1")]);
        world.changed(1, Event::Put, moved).await;
        said.extend(world.said_within(Duration::from_millis(30)).await);
    }
    assert_eq!(said, ["remove b"]);
}

#[tokio::test(start_paused = true)]
async fn changes_are_said_one_by_one() {
    let mut world = World::settled().await;
    let not_ready = conditions(endpoint("b", "10.1.0.2"), json!({"ready": false}));
    world
        .changed(
            1,
            Event::Put,
            slice("s1", "orders", &[endpoint("a", "10.1.0.1"), not_ready]),
        )
        .await;
    assert_eq!(world.said(1).await, ["put b Critical"]);
    world
        .changed(
            1,
            Event::Put,
            slice("s2", "orders", &[endpoint("c", "10.1.0.3")]),
        )
        .await;
    assert_eq!(world.said(1).await, ["put c"]);
    world.changed(0, Event::Gone, service("orders")).await;
    let said = world.said(2).await;
    assert_eq!(said, ["remove a", "remove b", "remove c", "reset "]);
}

#[tokio::test(start_paused = true)]
async fn a_new_list_is_said_at_once_and_what_it_lacks_is_inferred() {
    let mut world = World::settled().await;
    world
        .listed(
            1,
            vec![slice(
                "s9",
                "orders",
                &[endpoint("a", "10.1.0.1"), endpoint("d", "10.1.0.4")],
            )],
        )
        .await;
    assert_eq!(world.said(1).await, ["reset a d"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_server_changes_nothing_and_a_watch_that_is_taken_up_says_so() {
    let mut world = World::settled().await;
    world.tell(1, News::Open).await;
    world.tell(0, News::Open).await;
    world.tell(0, News::Lost(Ended::lost("gone"))).await;
    world.tell(usize::MAX, News::Alive).await;
    assert_eq!(
        world.said(30).await,
        ["stale gone"],
        "not before everything is watched again"
    );
    world.tell(0, News::Open).await;
    world.tell(1, News::Open).await;
    assert_eq!(world.said(1).await, ["reset a b"]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_two_services_name_stays_until_neither_does() {
    let mut world = World::with(json!({"map": {"service": "labels.tier", "version": "name"}}));
    let services = vec![service("orders"), service("orders-headless")];
    world.listed(0, services).await;
    let shared = |name: &str, service: &str| slice(name, service, &[endpoint("a", "10.1.0.1")]);
    let slices = vec![shared("s1", "orders"), shared("s2", "orders-headless")];
    world.listed(1, slices).await;
    assert_eq!(world.said(1).await, ["reset a"]);
    let again = shared("s2", "orders-headless");
    world.changed(1, Event::Put, again).await;
    assert_eq!(world.said(1).await, [""; 0], "of two, the first is said");
    world.changed(1, Event::Gone, shared("s1", "orders")).await;
    assert_eq!(world.said(1).await, ["put a"], "as the other has it");
    world
        .changed(1, Event::Gone, shared("s2", "orders-headless"))
        .await;
    assert_eq!(world.said(1).await, ["remove a"]);
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_read_any_more_goes_by_inference() {
    let mut world = World::settled().await;
    let endpoints = [endpoint("a", "10.1.0.1"), endpoint("b", "10.1.0.2")];
    let whole = slice("s1", "orders", &endpoints);
    let without_ports = with(whole.clone(), "/ports", json!([]));
    world.changed(1, Event::Put, without_ports).await;
    assert_eq!(world.said(1).await, ["miss a", "miss b"]);
    world.changed(1, Event::Put, whole).await;
    assert_eq!(world.said(1).await, ["put a", "put b"]);
    let odd = endpoint("b", "nowhere");
    let half = slice("s1", "orders", &[endpoint("a", "10.1.0.1"), odd]);
    world.changed(1, Event::Put, half).await;
    assert_eq!(world.said(1).await, ["miss b"]);
}

#[tokio::test(start_paused = true)]
async fn many_services_that_come_or_go_are_said_at_once() {
    let mut world = World::settled().await;
    for event in [Event::Put, Event::Gone] {
        let mut said = Vec::new();
        for number in 0..50 {
            let service = service(&format!("new-{number}"));
            world.changed(0, event, service).await;
            said.extend(world.said_within(Duration::from_millis(3)).await);
        }
        said.extend(world.said(1).await);
        assert_eq!(said, ["reset a b"], "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_of_no_use_leaves_departures_of_others_as_they_are() {
    let mut world = World::settled().await;
    let alias = with(service("alias"), "/spec/type", json!("ExternalName"));
    world.changed(0, Event::Put, alias).await;
    let mut said = world.said_within(Duration::from_millis(50)).await;
    let smaller = slice("s1", "orders", &[endpoint("a", "10.1.0.1")]);
    world.changed(1, Event::Put, smaller).await;
    said.extend(world.said(1).await);
    assert_eq!(said, ["remove b"]);
}

#[test]
fn a_server_that_forgets_at_once_is_asked_for_everything_ever_later() {
    let mut lists = Lists::new(Env::virtual_time(1).dice());
    let forgotten = |lists: &mut Lists| {
        let watched = lists.pause(&Next::Watch("1".to_owned()));
        assert_eq!(watched, Duration::ZERO, "what was listed is watched");
        lists.watched(Duration::from_millis(20));
        lists.pause(&Next::List)
    };
    let pauses: Vec<_> = (0..12).map(|_| forgotten(&mut lists)).collect();
    assert!(pauses[0] <= Duration::from_millis(250), "{pauses:?}");
    assert!(pauses[11] >= Duration::from_secs(15), "{pauses:?}");
    lists.watched(Duration::from_mins(1));
    let after_long = lists.pause(&Next::List);
    assert!(after_long <= Duration::from_millis(250), "{after_long:?}");
}

#[tokio::test]
async fn a_program_for_credentials_that_does_not_end_blocks_nobody() {
    let scratch = Scratch::new();
    let end = scratch.path().join("end");
    let waits = format!("while [ ! -e '{}' ]; do sleep 0.02; done", end.display());
    let text = json!({
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", waits], "interactiveMode": "Never",
        }}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    });
    let config = scratch.write("config", &text.to_string());
    let settings = settings(json!({"kubeconfig": config, "timeout": "300ms"}));
    let (env, mut opening) = (Env::system(), Opening::default());
    for _ in 0..2 {
        let opened = Api::open(&settings, &env, &mut opening).await;
        let Err(Ended::Lost { reason, .. }) = opened.map(|_| ()) else {
            panic!("it has no credentials");
        };
        assert!(reason.contains("did not end within 300ms"), "{reason}");
    }
    scratch.write("end", "");
    let patient = Settings {
        timeout: Duration::from_mins(1),
        ..settings
    };
    let opened = Api::open(&patient, &env, &mut opening).await;
    let Err(Ended::Lost { reason, .. }) = opened.map(|_| ()) else {
        panic!("it said nothing");
    };
    assert!(reason.contains("can't be called"), "{reason}");
}

#[test]
fn a_selector_is_written_so_that_it_arrives() {
    let services = Collection {
        kind: Kind::Services,
        namespace: Some("shop".to_owned()),
        selector: Some("env in (a, b),tier=web".to_owned()),
    };
    assert_eq!(
        services.path(&[("limit", "500")]),
        "/api/v1/namespaces/shop/services?limit=500&labelSelector=env%20in%20%28a%2C%20b%29%2Ctier%3Dweb"
    );
}

const WORDS: &[&str] = &[
    "metadata",
    "namespace",
    "name",
    "a",
    "b",
    "labels",
    "kubernetes.io/service-name",
    "spec",
    "type",
    "ExternalName",
    "ports",
    "port",
    "protocol",
    "TCP",
    "addressType",
    "IPv4",
    "IPv6",
    "endpoints",
    "addresses",
    "10.0.0.1",
    "conditions",
    "ready",
    "serving",
    "terminating",
    "targetRef",
    "kind",
    "Pod",
    "zone",
    "hints",
    "forZones",
    "ipFamilies",
    "annotations",
];

fn any_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Services, Kind::Slices, Kind::Pods])
}

proptest! {
    #[test]
    fn no_object_is_too_odd_to_be_kept(
        objects in prop::collection::vec((any_kind(), json_of(WORDS), any::<bool>()), 0..8),
    ) {
        let mut cluster = cluster(&[service("a")], &[slice("b", "a", &[endpoint("a", "10.1.0.1")])]);
        for (kind, object, stays) in objects {
            cluster.put(kind, object.clone());
            if !stays {
                cluster.remove(kind, &object);
            }
            let _said = cluster.view(&settings(json!({"only": "name != ''"})), &source());
        }
        // What is taken out leaves nothing behind.
        for kind in [Kind::Pods, Kind::Slices, Kind::Services] {
            cluster.replace(kind, None, Vec::new());
            prop_assert_eq!(cluster.count(kind), 0);
        }
        prop_assert!(cluster.is_bare());
    }

    #[test]
    fn a_cluster_that_followed_changes_is_like_one_that_was_listed(
        changes in prop::collection::vec((0..3_u8, 0..3_u8, 0..3_u8, any::<bool>()), 0..40),
    ) {
        let mut followed = cluster(&[service("s0"), service("s1")], &[]);
        let mut slices = std::collections::BTreeMap::new();
        for (name, of, pod, stays) in changes {
            let pod = endpoint(&format!("p{pod}"), &format!("10.1.0.{pod}"));
            let one = slice(&format!("c{name}"), &format!("s{of}"), &[pod]);
            if stays {
                followed.put(Kind::Slices, one.clone());
                slices.insert(name, one);
            } else {
                followed.remove(Kind::Slices, &one);
                slices.remove(&name);
            }
        }
        let slices: Vec<_> = slices.into_values().collect();
        let listed = cluster(&[service("s0"), service("s1")], &slices);
        prop_assert_eq!(words(&followed), words(&listed));
    }
}
