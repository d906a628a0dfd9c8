//! Claims about tokens in a store, and about the gate.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Response as Answer, StatusCode, header};
use portolan_access::{Caller, Kind, Need, Rate, Rights, Secret};
use portolan_config::{Access as Plan, Outside};
use portolan_model::{ByteSize, Revision, Timestamp};
use portolan_runtime::Env;
use portolan_store::{Embedded, Ledger, Settings};
use portolan_testkit::Scratch;
use portolan_wire::serve::{
    Handler, Peer, PerClient, Request, Response, collect, empty, full, streamed,
};
use serde_json::Value;

use crate::{directory::Shown, *};

const HERE: &str = "127.0.0.1";
const THERE: &str = "192.0.2.1";

fn plan(access: &str) -> Option<Plan> {
    let outside = Outside {
        shelves: portolan_config::Shelves {
            balancers: &[],
            ..portolan_config::Shelves::default()
        },
        ..Outside::default()
    };
    let text = format!("access: {access}");
    portolan_config::read("test", &text, &outside)
        .unwrap()
        .access
}

fn token(name: &str, scopes: &[&str]) -> Token {
    Token {
        id: "".into(),
        name: name.into(),
        hash: String::new(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        policies: Vec::new(),
        created: Timestamp::from_millis(1),
        creator: "test".into(),
        expires: None,
        used: None,
        is_local: false,
    }
}

struct World {
    env: Env,
    scratch: Scratch,
    access: Access,
    store: Option<Embedded>,
}

impl World {
    async fn new() -> Self {
        let env = Env::system();
        let mut world = Self {
            scratch: Scratch::new(),
            access: Access::new(&env),
            store: None,
            env,
        };
        world.open().await;
        world
    }

    async fn open(&mut self) {
        let path = self.scratch.path().join("store");
        let (store, _) = Embedded::open(&self.env, Settings::of(path)).unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(store.clone());
        self.access.attach(Some(ledger)).await.unwrap();
        self.store = Some(store);
    }

    async fn restart(&mut self) {
        self.access.attach(None).await.unwrap();
        if let Some(store) = self.store.take() {
            store.close().await;
        }
        self.access = Access::new(&self.env);
        self.open().await;
    }

    /// What a kill leaves: nobody had the time to write anything.
    async fn kill(&mut self) {
        if let Some(store) = self.store.take() {
            store.close().await;
        }
        self.access = Access::new(&self.env);
        self.open().await;
    }

    async fn make(&self, name: &str, scopes: &[&str]) -> String {
        let made = self.access.create(token(name, scopes), None).await;
        made.unwrap().2.reveal().to_owned()
    }

    fn gate(&self) -> Gate {
        self.gate_of(Manner::Native, Arc::default())
    }

    fn gate_of(&self, manner: Manner, throttle: Arc<Throttle>) -> Gate {
        let front = Front {
            listener: "test",
            manner,
            kind: |method, path| match (method, path) {
                (&Method::GET, _) => Kind::Read,
                (_, "/heartbeat") => Kind::SignOfLife,
                (_, _) => Kind::Change,
            },
            need: |method, path| match (method, path) {
                (_, "/live") => Need::Nothing,
                (&Method::GET, _) => Need::Read,
                (_, _) => Need::Operate,
            },
        };
        // It answers who it was told calls.
        let inner = |request: Request| {
            let caller = request.extensions().get::<Caller>().cloned();
            let actor = caller.map_or_else(|| "nobody".into(), |caller| caller.actor());
            let is_watch = request.uri().path() == "/watch";
            async move {
                if !is_watch {
                    return Response::new(full(actor.to_string()));
                }
                let endless = streamed((), |()| async { Some((Bytes::from_static(b"news"), ())) });
                let mut response = Response::new(endless);
                let kind = HeaderValue::from_static("text/event-stream");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
        };
        let api = Api::new(self.access.clone(), Arc::new(inner));
        let revision = || Revision::from_u64(7);
        Gate::new(
            front,
            Arc::new(api),
            self.access.clone(),
            throttle,
            revision,
        )
    }
}

fn request(method: &str, path: &str, from: &str, secret: Option<&str>) -> Request {
    let mut request = http::Request::builder().method(method).uri(path);
    if let Some(secret) = secret {
        request = request.header(header::AUTHORIZATION, format!("Bearer {secret}"));
    }
    let mut request = request.body(empty()).unwrap();
    let peer = SocketAddr::new(from.parse::<IpAddr>().unwrap(), 1);
    request.extensions_mut().insert(Peer {
        address: peer,
        local: None,
    });
    request
}

async fn ask(gate: &Gate, method: &str, path: &str, secret: Option<&str>) -> (u16, String) {
    let answer = gate.handle(request(method, path, HERE, secret)).await;
    let (status, text) = read(answer).await;
    (status.as_u16(), text)
}

async fn read(answer: Answer<portolan_wire::serve::Body>) -> (StatusCode, String) {
    let status = answer.status();
    let body = collect(answer.into_body(), ByteSize::from_bytes(1 << 20)).await;
    (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
}

/// The trail, as the API tells it.
async fn trail(gate: &Gate, secret: Option<&str>, query: &str) -> Vec<Value> {
    // The test's own front calls it a read.
    let (status, text) = ask(gate, "GET", &format!("/v1/audit?{query}"), secret).await;
    assert_eq!(status, 200, "{text}");
    let list: Value = serde_json::from_str(&text).unwrap();
    list["entries"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_token_survives_a_restart_by_its_hash_alone() {
    let mut world = World::new().await;
    world.access.follow(plan("{}").as_ref());
    let secret = world.make("ci", &["read"]).await;
    world.restart().await;
    world.access.follow(plan("{}").as_ref());
    assert_eq!(
        ask(&world.gate(), "GET", "/a", Some(&secret)).await,
        (200, "ci".to_owned())
    );
    let stored = std::fs::read(world.scratch.path().join("store")).unwrap();
    let holds = |text: &str| {
        stored
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(!holds(&secret) && holds(&Secret::given(&*secret).hash().to_string()));
}

#[tokio::test]
async fn a_revocation_holds_for_the_next_request_and_after_a_restart() {
    let mut world = World::new().await;
    world.access.follow(plan("{}").as_ref());
    let secret = world.make("ci", &["read"]).await;
    assert_eq!(ask(&world.gate(), "GET", "/a", Some(&secret)).await.0, 200);
    world.access.revoke("ci").await.unwrap();
    assert_eq!(ask(&world.gate(), "GET", "/a", Some(&secret)).await.0, 401);
    world.restart().await;
    world.access.follow(plan("{}").as_ref());
    assert_eq!(ask(&world.gate(), "GET", "/a", Some(&secret)).await.0, 401);
    assert!(matches!(
        world.access.revoke("ci").await,
        Err(Fault::Unknown(_))
    ));
}

#[tokio::test]
async fn rights_are_others_for_those_alone_whose_rights_changed() {
    let world = World::new().await;
    let access = &world.access;
    access.follow(plan("{}").as_ref());
    let (ours, theirs) = (
        world.make("ours", &["read"]).await,
        world.make("theirs", &["read"]).await,
    );
    let found = |secret: Option<&str>| {
        let shown = Shown {
            address: HERE.parse().unwrap(),
            secret,
            names: &[],
        };
        let directory = access.directory();
        let found = directory.find(shown, world.env.now());
        found.map(|(caller, _)| caller.rights)
    };
    let all = [Some(&*ours), Some(&*theirs), None].map(|secret| found(secret).unwrap());
    let mut changes = access.changes();
    world.make("another", &["read"]).await;
    let mut tokens = access.tokens().into_iter();
    let (mut token, _) = tokens.find(|(token, _)| &*token.name == "ours").unwrap();
    // That it was used, for one.
    access.update(token.clone()).await.unwrap();
    assert!(changes.has_changed().unwrap());
    assert!(all.iter().all(Rights::are_current));
    token.scopes.push("operate".to_owned());
    access.update(token).await.unwrap();
    let current = all.each_ref().map(Rights::are_current);
    assert_eq!(current, [false, true, true]);
    let others = found(Some(&ours)).unwrap();
    assert!(others.are_current() && others.number() > all[0].number());
    changes.mark_unchanged();
    access.revoke("theirs").await.unwrap();
    assert!(changes.has_changed().unwrap() && !all[1].are_current());
    assert!(others.are_current() && all[2].are_current());
    access.follow(None);
    assert!(!others.are_current() && !all[2].are_current());
    assert!(found(Some(&ours)).unwrap().number() > others.number());
}

#[tokio::test]
async fn without_access_control_everybody_may_do_everything() {
    let world = World::new().await;
    let gate = world.gate();
    assert_eq!(
        ask(&gate, "GET", "/a", None).await,
        (200, "nobody".to_owned())
    );
    assert_eq!(
        ask(&gate, "PUT", "/a", Some("x")).await,
        (200, HERE.to_owned())
    );
    let entries = trail(&gate, None, "").await;
    assert_eq!(entries.len(), 1, "reads are not remembered");
    assert_eq!(
        (&entries[0]["actor"], &entries[0]["revision"]),
        (&HERE.into(), &7.into())
    );
}

#[tokio::test]
async fn a_request_is_served_if_its_token_allows_it() {
    let world = World::new().await;
    world
        .access
        .follow(plan("{anonymous: [], certificates: {}}").as_ref());
    let gate = world.gate();
    let (reader, operator) = (
        world.make("r", &["read"]).await,
        world.make("o", &["operate"]).await,
    );
    assert_eq!(ask(&gate, "GET", "/live", None).await.0, 200);
    let (status, text) = ask(&gate, "GET", "/a", None).await;
    assert!(status == 401 && text.contains("token_missing"), "{text}");
    let (status, text) = ask(&gate, "GET", "/a", Some("ptl_nobody")).await;
    assert!(status == 401 && text.contains("token_unknown"), "{text}");
    let (status, text) = ask(&gate, "PUT", "/a", Some(&reader)).await;
    assert!(
        status == 403 && text.contains("`r` lacks scope `operate`"),
        "{text}"
    );
    assert_eq!(
        ask(&gate, "PUT", "/a", Some(&operator)).await,
        (200, "o".to_owned())
    );
    let admin = world.make("a", &["admin"]).await;
    let denied = trail(&gate, Some(&admin), "outcome=denied").await;
    let told: Vec<_> = denied
        .iter()
        .map(|entry| {
            (
                entry["status"].as_u64().unwrap(),
                entry["count"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [(401, 2), (403, 1)]);
    let done = trail(&gate, Some(&admin), "outcome=done&actor=o").await;
    assert_eq!(
        (&done[0]["path"], &done[0]["method"]),
        (&"/a".into(), &"PUT".into())
    );
}

#[tokio::test]
async fn a_token_is_worth_nothing_when_its_time_is_up() {
    let world = World::new().await;
    world.access.follow(plan("{}").as_ref());
    let token = Token {
        expires: Some(Timestamp::from_millis(2)),
        ..token("old", &["admin"])
    };
    let (_, _, secret) = world.access.create(token, None).await.unwrap();
    assert_eq!(
        ask(&world.gate(), "GET", "/a", Some(secret.reveal()))
            .await
            .0,
        401
    );
}

#[tokio::test]
async fn declared_tokens_and_anonymous_scopes_count() {
    let world = World::new().await;
    let hash = Secret::given("s").hash();
    let text = format!("{{anonymous: read, tokens: {{git: {{hash: '{hash}', scopes: operate}}}}}}");
    world.access.follow(plan(&text).as_ref());
    let gate = world.gate();
    assert_eq!(ask(&gate, "GET", "/a", None).await, (200, HERE.to_owned()));
    assert_eq!(ask(&gate, "PUT", "/a", None).await.0, 401);
    assert_eq!(
        ask(&gate, "PUT", "/a", Some("s")).await,
        (200, "git".to_owned())
    );
    world.access.follow(plan("{}").as_ref());
    assert_eq!(ask(&gate, "PUT", "/a", Some("s")).await.0, 401);
}

#[tokio::test]
async fn the_secret_of_the_data_folder_counts_on_this_machine() {
    let world = World::new().await;
    world.access.follow(plan("{}").as_ref());
    world.access.write_local(world.scratch.path()).unwrap();
    let file = world.scratch.path().join(LOCAL_FILE);
    let secret = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let gate = world.gate();
    assert_eq!(
        ask(&gate, "PUT", "/a", Some(&secret)).await,
        (200, "local".to_owned())
    );
    let foreign = gate
        .handle(request("PUT", "/a", THERE, Some(&secret)))
        .await;
    assert_eq!(foreign.status(), 401);
}

#[tokio::test]
async fn refusals_are_in_the_words_of_the_front() {
    let world = World::new().await;
    world.access.follow(plan("{}").as_ref());
    let eureka = world.gate_of(Manner::Eureka, Arc::default());
    let answer = eureka.handle(request("GET", "/a", HERE, None)).await;
    assert_eq!(answer.status(), 401);
    let way = answer.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
    assert!(way.starts_with("Basic realm="), "{way}");
    let consul = world.gate_of(Manner::Consul, Arc::default());
    let answer = consul
        .handle(request("GET", "/a?token=x", HERE, None))
        .await;
    assert_eq!(
        read(answer).await,
        (StatusCode::FORBIDDEN, "ACL not found".to_owned())
    );
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_again() {
    let world = World::new().await;
    let throttle = Arc::new(Throttle::default());
    let one = NonZeroU32::MIN;
    throttle.follow(PerClient {
        limit: Rate {
            per_second: one,
            burst: one,
        },
        includes_this_machine: false,
    });
    let gate = world.gate_of(Manner::Native, throttle);
    let from = |address| gate.handle(request("GET", "/a", address, None));
    assert_eq!(from(THERE).await.status(), 200);
    let limited = from(THERE).await;
    assert_eq!(limited.status(), 429);
    assert!(limited.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(from("192.0.2.2").await.status(), 200, "it is somebody else");
    for _ in 0..3 {
        assert_eq!(from(HERE).await.status(), 200, "this machine has no limit");
    }
    assert_eq!(trail(&gate, None, "outcome=limited").await.len(), 1);
}

#[tokio::test]
async fn policies_hold_as_long_as_they_are_there() {
    let world = World::new().await;
    world.access.follow(plan("{}").as_ref());
    let policy = Policy {
        id: uuid().unwrap(),
        name: "readers".into(),
        description: String::new(),
        rules: "service_prefix \"\" {policy = \"read\"} node_prefix \"\" {policy = \"read\"}"
            .into(),
        datacenters: Vec::new(),
    };
    world.access.put_policy(policy.clone()).await.unwrap();
    let token = Token {
        policies: vec![Arc::clone(&policy.id)],
        ..token("consul", &[])
    };
    let (_, _, secret) = world.access.create(token, None).await.unwrap();
    let gate = world.gate();
    assert_eq!(ask(&gate, "GET", "/a", Some(secret.reveal())).await.0, 200);
    assert_eq!(ask(&gate, "PUT", "/a", Some(secret.reveal())).await.0, 403);
    world.access.remove_policy(&policy.id).await.unwrap();
    assert_eq!(ask(&gate, "GET", "/a", Some(secret.reveal())).await.0, 403);
}

#[tokio::test]
async fn a_watch_ends_with_its_token() {
    let world = World::new().await;
    world.access.follow(plan("{}").as_ref());
    let secret = world.make("reader", &["read"]).await;
    let gate = world.gate();
    let watch = || gate.handle(request("GET", "/watch", HERE, Some(&secret)));
    let (goes_on, ends) = (watch().await, watch().await);
    let room = ByteSize::from_bytes(1 << 10);
    let all = collect(goes_on.into_body(), room).await;
    assert!(all.is_err(), "it has no end of its own");
    let tokens = world.access.tokens();
    let (reader, _) = tokens
        .iter()
        .find(|(token, _)| *token.name == *"reader")
        .unwrap();
    world.access.revoke(&reader.id).await.unwrap();
    assert_eq!(collect(ends.into_body(), room).await.unwrap(), "");
}

#[tokio::test]
async fn who_has_a_token_or_may_register_gets_no_first_one() {
    let secret = || Secret::given(&*uuid().unwrap());
    let world = World::new().await;
    world
        .access
        .create(token("web", &["register:web"]), None)
        .await
        .unwrap();
    let late = world.access.bootstrap(token("late", &[]), secret()).await;
    assert!(
        matches!(late, Err(Fault::Taken(_))),
        "there is a token already"
    );
    let world = World::new().await;
    world.access.follow(plan("{anonymous: register}").as_ref());
    let open = world.access.bootstrap(token("open", &[]), secret()).await;
    assert!(
        matches!(open, Err(Fault::Taken(_))),
        "everybody may register"
    );
}

#[tokio::test]
async fn the_first_token_is_given_once() {
    let mut world = World::new().await;
    let secret = || Secret::given(&*uuid().unwrap());
    let first = world.access.bootstrap(token("first", &[]), secret()).await;
    assert!(first.is_ok());
    let again = world.access.bootstrap(token("again", &[]), secret()).await;
    assert!(matches!(again, Err(Fault::Taken(_))));
    world.restart().await;
    let again = world.access.bootstrap(token("again", &[]), secret()).await;
    assert!(matches!(again, Err(Fault::Taken(_))));
}

#[tokio::test]
async fn without_a_store_no_token_is_made() {
    let access = Access::new(&Env::system());
    let made = access.create(token("ci", &["read"]), None).await;
    assert!(matches!(made, Err(Fault::NoStore)));
}

#[test]
fn the_reference_describes_every_route_and_no_other() {
    let text = include_str!("../../../docs/reference/openapi.json");
    let document: Value = serde_json::from_str(text).unwrap();
    let mut described = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["tags"] == serde_json::json!(["access"]) {
                described.push((method.as_str(), path.as_str()));
            }
        }
    }
    described.sort_unstable();
    let mut routes = ROUTES.to_vec();
    routes.sort_unstable();
    assert_eq!(described, routes);
}

#[tokio::test]
async fn the_trail_goes_on_after_a_restart() {
    let mut world = World::new().await;
    world.access.follow(plan("{}").as_ref());
    let admin = world.make("admin", &["admin"]).await;
    let operator = world.make("operator", &["operate"]).await;
    let gate = world.gate();
    assert_eq!(ask(&gate, "PUT", "/thing", Some(&operator)).await.0, 200);
    for _ in 0..3 {
        assert_eq!(ask(&gate, "PUT", "/other", None).await.0, 401);
    }
    let before = trail(&world.gate(), Some(&admin), "").await;
    assert_eq!(before.len(), 2);
    world.restart().await;
    world.access.follow(plan("{}").as_ref());
    assert_eq!(trail(&world.gate(), Some(&admin), "").await, before);
    let gate = world.gate();
    assert_eq!(ask(&gate, "PUT", "/third", Some(&operator)).await.0, 200);
    let after = trail(&world.gate(), Some(&admin), "").await;
    assert_eq!(after[..2], before[..]);
    assert_eq!(
        (&after[2]["path"], &after[2]["sequence"]),
        (&"/third".into(), &3.into())
    );
}

#[tokio::test]
async fn a_change_that_was_answered_is_in_the_trail_after_a_kill() {
    let mut world = World::new().await;
    world.access.follow(plan("{}").as_ref());
    let admin = world.make("admin", &["admin"]).await;
    let gate = world.gate();
    assert_eq!(ask(&gate, "PUT", "/thing", Some(&admin)).await.0, 200);
    drop(gate);
    world.kill().await;
    world.access.follow(plan("{}").as_ref());
    let told = trail(&world.gate(), Some(&admin), "").await;
    assert_eq!((told.len(), &told[0]["path"]), (1, &"/thing".into()));
}

#[tokio::test]
async fn what_memory_has_forgotten_of_the_trail_is_read_from_the_store() {
    let mut world = World::new().await;
    world.access.follow(plan("{}").as_ref());
    let admin = world.make("admin", &["admin"]).await;
    let calls = 2_500;
    for turn in 0..2 {
        let gate = world.gate();
        for n in 0..calls {
            let path = format!("/{turn}/{n}");
            assert_eq!(ask(&gate, "PUT", &path, None).await.0, 401);
        }
        // Each waits for two seconds at most.
        while world.access.trail().has_unstored() {
            world.access.write_out().await;
        }
        // The second time, what is stored was read at a start.
        world.restart().await;
        world.access.follow(plan("{}").as_ref());
    }
    let sequences = |entries: &[Value]| -> Vec<u64> {
        let numbers = entries.iter().map(|entry| &entry["sequence"]);
        numbers.filter_map(Value::as_u64).collect()
    };
    let gate = world.gate();
    let mut read = Vec::new();
    let mut after = 0;
    loop {
        let page = trail(&gate, Some(&admin), &format!("after={after}&limit=700")).await;
        let Some(last) = sequences(&page).last().copied() else {
            break;
        };
        read.extend(sequences(&page));
        after = last;
    }
    assert_eq!(read, (1..=2 * calls).collect::<Vec<_>>());
    // The last ones of a path that were forgotten long ago.
    let old = trail(&gate, Some(&admin), "path=/0/24&limit=20").await;
    let paths: Vec<_> = old
        .iter()
        .filter_map(|entry| entry["path"].as_str())
        .collect();
    assert_eq!(
        (paths.len(), paths[0], paths[19]),
        (20, "/0/2480", "/0/2499")
    );
}
