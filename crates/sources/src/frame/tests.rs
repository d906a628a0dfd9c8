//! Claims about what sources share.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use portolan_catalog::{Arrival, InboxHub, Inflow, News, Turn, inboxes};
use portolan_model::{Change, Departure, Health, Instance, Name, Override, ServiceKey, SourceId};
use portolan_runtime::{Env, Task};
use serde_json::{Value, json};

use super::*;

fn source() -> SourceId {
    SourceId::new("test:one")
}

fn found(id: &str) -> Found {
    Found {
        service: "orders".to_owned(),
        id: id.to_owned(),
        address: "10.0.0.1".parse().ok(),
        ports: vec![(String::new(), 80)],
        ..Found::default()
    }
}

fn instance(id: &str) -> Instance {
    let namespace = Name::parse("default").unwrap();
    found(id).into_instance(&namespace, &source()).unwrap()
}

fn view(ids: &[&str]) -> View {
    let mut view = View::default();
    for id in ids {
        view.add(instance(id));
    }
    view
}

fn key() -> ServiceKey {
    ServiceKey::parse("orders").unwrap()
}

/// The change, in a few words.
fn words(change: &Change) -> String {
    match change {
        Change::Reset { instances, .. } => {
            let ids: Vec<_> = instances.iter().map(|i| i.id.as_str()).collect();
            format!("reset {}", ids.join(" "))
        }
        Change::Put { instance } => format!("put {}", instance.id),
        Change::Remove { id, .. } => format!("remove {id}"),
        Change::Stale { reason } => format!("stale {reason}"),
    }
}

/// What a source said, if that is what arrived.
fn said_by(arrival: &Arrival) -> Option<String> {
    let News::Said(change) = &arrival.saying.news else {
        return None;
    };
    Some(words(change))
}

/// What a source under test does in a session, step by step.
#[derive(Clone, Debug)]
enum Step {
    All(&'static [&'static str]),
    Still,
    Wait(u64),
    Lose(&'static str),
    Stay,
}

struct Script(VecDeque<Step>, Env);

impl Follow for Script {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        loop {
            match self.0.pop_front().unwrap_or(Step::Stay) {
                Step::All(ids) => teller.all(view(ids)).await?,
                Step::Still => teller.still().await?,
                Step::Wait(millis) => self.1.sleep(Duration::from_millis(millis)).await,
                Step::Lose(reason) => return Err(Ended::lost(reason)),
                Step::Stay => std::future::pending().await,
            }
        }
    }
}

struct World {
    env: Env,
    _hub: InboxHub,
    inflow: Inflow,
    _task: Task,
}

impl World {
    fn of(steps: &[Step]) -> Self {
        Self::with(|env| Script(steps.iter().cloned().collect(), env))
    }

    fn with<F: Follow + 'static>(source_of: impl FnOnce(Env) -> F) -> Self {
        let env = Env::virtual_time(1);
        let (mut hub, inflow) = inboxes();
        let inbox = hub.open(&source(), Turn::Fair);
        let following = follow(source_of(env.clone()), inbox, env.clone());
        let task = env.spawn("source", following);
        Self {
            env,
            _hub: hub,
            inflow,
            _task: task,
        }
    }

    /// What was said within that many seconds.
    async fn said_within(&mut self, seconds: u64) -> Vec<String> {
        let mut said = Vec::new();
        let env = self.env.clone();
        let listening = async {
            loop {
                let batch = self.inflow.batch(64).await.into_iter();
                said.extend(batch.filter_map(|arrival| said_by(&arrival)));
            }
        };
        let _over = env.timeout(Duration::from_secs(seconds), listening).await;
        said
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_says_only_what_is_new() {
    let steps = [
        Step::All(&["a"]),
        Step::All(&["a"]),
        Step::Still,
        Step::All(&["a", "b"]),
    ];
    let mut world = World::of(&steps);
    assert_eq!(world.said_within(5).await, ["reset a", "reset a b"]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_is_soon_over_is_not_told() {
    let steps = [
        Step::All(&["a"]),
        Step::Lose("leader"),
        Step::Wait(500),
        Step::Still,
    ];
    let mut world = World::of(&steps);
    assert_eq!(world.said_within(10).await, ["reset a"]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_once_it_lasts_and_ends_with_all_that_is_known() {
    let steps = [
        Step::All(&["a"]),
        Step::Lose("gone"),
        Step::Wait(4000),
        Step::Still,
    ];
    let mut world = World::of(&steps);
    assert_eq!(
        world.said_within(10).await,
        ["reset a", "stale gone", "reset a"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_there_is_told_at_once_and_tried_again() {
    let steps = [
        Step::Lose("refused"),
        Step::Lose("refused"),
        Step::All(&["a"]),
    ];
    let mut world = World::of(&steps);
    assert_eq!(
        world.said_within(60).await,
        ["stale refused", "stale refused", "reset a"]
    );
}

#[test]
fn foreign_names_are_folded_and_ids_are_kept() {
    let mut foreign = found("a/b c");
    foreign.service = "My Group@@Orders".to_owned();
    foreign.ports = vec![("HTTP Port".to_owned(), 80), ("none".to_owned(), 0)];
    let namespace = Name::parse("shop").unwrap();
    let made = foreign.into_instance(&namespace, &source()).unwrap();
    assert_eq!(made.key.to_string(), "shop/my-group--orders");
    assert_eq!(made.id.as_str(), "a~b~c");
    assert_eq!(
        made.metadata.get("portolan/foreign-id").map(|id| &**id),
        Some("a/b c")
    );
    assert_eq!(made.endpoints.len(), 1);
    assert_eq!(made.endpoints[0].name.as_str(), "http-port");
}

#[test]
fn what_can_get_no_traffic_is_no_instance() {
    let namespace = Name::parse("default").unwrap();
    let refused = |change: fn(&mut Found)| {
        let mut unfit = found("a");
        change(&mut unfit);
        unfit.into_instance(&namespace, &source()).unwrap_err()
    };
    assert_eq!(refused(|found| found.address = None), Unfit::NoAddress);
    assert_eq!(refused(|found| found.ports.clear()), Unfit::NoPort);
    let many = refused(|found| found.ports = (0..65).map(|n| (format!("p{n}"), 1)).collect());
    assert_eq!(many, Unfit::ManyPorts);
    assert!(matches!(
        refused(|found| found.id.clear()),
        Unfit::Name { .. }
    ));
}

fn basics(settings: &Value) -> Basics {
    let mut fields = Fields::new(settings);
    let basics = Basics::read(&mut fields, &["Meta", "Weight", "Name"]);
    fields.finish(basics).unwrap()
}

#[test]
fn expressions_take_the_place_of_the_usual_mapping() {
    let basics = basics(&json!({
        "zone": "z0",
        "only": "Name != \"other\"",
        "map": {
            "version": "Meta.v",
            "weight": "Weight",
            "health": "Meta.ok",
            "port": "Meta.port",
            "metadata": {"team": "Meta.team + \"!\"", "none": "Meta.nothing"},
        },
    }));
    let object = |name: &str| {
        let object = json!({"Name": name, "Weight": 0, "Meta": {"v": "2", "ok": false, "port": "81", "team": "x"}});
        object.as_object().unwrap().clone()
    };
    let made = basics.instance(&source(), found("a"), || object("this"));
    let made = made.unwrap().unwrap();
    assert_eq!(made.version.as_deref(), Some("2"));
    assert_eq!(made.zone.as_deref(), Some("z0"));
    assert_eq!(made.state.health, Health::Critical);
    assert_eq!(made.state.overridden, Override::Maintenance);
    assert_eq!(made.endpoints[0].address.port(), 81);
    assert_eq!(made.metadata.len(), 1);
    assert_eq!(made.metadata.get("team").map(|team| &**team), Some("x!"));
    let passed = basics.instance(&source(), found("a"), || object("other"));
    assert_eq!(passed, Ok(None));
}

#[test]
fn an_expression_that_comes_to_nonsense_is_told() {
    let basics = basics(&json!({"map": {"port": "Meta"}}));
    let object = json!({"Meta": {"a": 1}}).as_object().unwrap().clone();
    let error = basics
        .instance(&source(), found("a"), || object)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`map.port`: it came to {\"a\":1}, which is none"
    );
}

#[test]
fn mistakes_in_a_mapping_are_found_by_their_place() {
    let settings = json!({
        "namespace": "a b",
        "only": "Nobody == 1",
        "map": {"colour": "Name", "port": 8, "metadata": {"x": "Name +"}},
    });
    let mut fields = Fields::new(&settings);
    let basics = Basics::read(&mut fields, &["Name"]);
    let problems = fields.finish(basics).unwrap_err();
    let paths: Vec<_> = problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "/namespace",
            "/only",
            "/map/colour",
            "/map/port",
            "/map/metadata/x"
        ]
    );
}

#[test]
fn settings_of_servers_are_read_and_secrets_are_not_shown() {
    let settings = json!({
        "urls": ["http://one:8500", "https://two/base"],
        "headers": {"x-secret": "hush"},
        "tls": {"server_name": "two.example", "verify": "off"},
    });
    let mut fields = Fields::new(&settings);
    let servers = ServersSettings::read(&mut fields, "http://127.0.0.1:8500");
    let servers = fields.finish(servers).unwrap();
    assert_eq!(servers.urls.len(), 2);
    assert!(!format!("{servers:?}").contains("hush"));
    let bad =
        json!({"urls": ["ftp://x"], "tls": {"key": "k", "colour": 1}, "headers": {"a b": "c"}});
    let mut fields = Fields::new(&bad);
    let servers = ServersSettings::read(&mut fields, "http://127.0.0.1:8500");
    let problems = fields.finish(servers).unwrap_err();
    let paths: Vec<_> = problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(paths, ["/urls/0", "/tls", "/tls/colour", "/headers/a b"]);
}

#[tokio::test(start_paused = true)]
async fn one_service_is_replaced_new_instances_first() {
    struct OneByOne;
    impl Follow for OneByOne {
        async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
            teller.all(view(&["a", "b"])).await?;
            let now = [instance("b"), instance("c")];
            teller.service(&key(), now, Departure::Inferred).await?;
            teller.service(&key(), [], Departure::Explicit).await?;
            std::future::pending().await
        }
    }
    let mut world = World::with(|_| OneByOne);
    let said = world.said_within(3).await;
    assert_eq!(
        said,
        ["reset a b", "put c", "remove a", "remove b", "remove c"]
    );
}

#[tokio::test(start_paused = true)]
async fn health_that_did_not_change_is_as_old_as_it_was() {
    struct Ill(Env);
    impl Follow for Ill {
        async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
            teller.all(view(&["a"])).await?;
            let mut ill = instance("a");
            ill.state.health = Health::Critical;
            teller.put(ill.clone()).await?;
            self.0.sleep(Duration::from_secs(1)).await;
            let mut view = View::default();
            view.add(ill);
            teller.all(view).await?;
            std::future::pending().await
        }
    }
    let mut world = World::with(Ill);
    assert_eq!(world.said_within(3).await, ["reset a", "put a"]);
}
