//! The native API over real HTTP on loopback.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

mod common;

use std::{future::poll_fn, task::Poll};

use common::World;
use portolan_dialects::native::InstanceList;
use portolan_model::{InstanceId, ServiceKey};
use portolan_registry::{RegistryError, core::Subject};
use portolan_runtime::Env;
use serde_json::{Value, json};

const A: &str = "/v1/services/orders/instances/a";

fn told(name: &str, id: &str) -> (String, String) {
    (name.to_owned(), id.to_owned())
}

#[tokio::test]
async fn an_instance_registers_beats_and_leaves() {
    let world = World::new(Env::system());
    let (status, body) = world
        .call("PUT", A, r#"{"port": 9001, "version": "v1"}"#)
        .await;
    assert_eq!(status, 201, "{body}");
    assert_eq!(body["url"], "http://localhost:8080/orders/");
    assert_eq!(body["ttl"], "30s");
    let created = body["revision"].as_u64().unwrap();

    let (status, body) = world.call("GET", "/v1/services/orders", "").await;
    assert_eq!((status, &body["open"]), (200, &json!(1)));
    assert_eq!(body["members"][0]["endpoints"]["default"], "127.0.0.1:9001");
    assert_eq!(body["revision"].as_u64(), Some(created));

    let (status, body) = world.call("PUT", &format!("{A}/heartbeat"), "").await;
    assert_eq!((status, body["revision"].as_u64()), (200, Some(created)));
    let report = r#"{"status": "critical", "note": "disk full"}"#;
    let (_, body) = world.call("PUT", &format!("{A}/heartbeat"), report).await;
    assert!(body["revision"].as_u64() > Some(created));
    let (_, body) = world.call("GET", A, "").await;
    assert_eq!(body["note"], "disk full");

    let (status, body) = world.call("DELETE", A, "").await;
    assert_eq!((status, &body["drain"]), (200, &Value::Null));
    let (status, body) = world.call("DELETE", A, "").await;
    assert_eq!(
        (status, &body["cause"]),
        (404, &json!("instance_not_found"))
    );
    let (status, _) = world.call("PUT", &format!("{A}/heartbeat"), "").await;
    assert_eq!(status, 404);
    let (_, body) = world.call("GET", "/v1/events", "").await;
    assert_eq!(body["events"].as_array().unwrap().len(), 3);
    let put = &body["events"][0];
    assert_eq!(put["origin"]["actor"], "127.0.0.1");
    assert_eq!(
        put["instance"]["endpoints"]["default"], "127.0.0.1:9001",
        "an instance looks the same everywhere"
    );
    assert!(put["at"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn an_id_and_an_address_are_made_up_for_whoever_names_none() {
    let world = World::new(Env::system());
    let path = "/v1/namespaces/shop/services/orders/instances";
    let (status, body) = world.call("POST", path, r#"{"port": 9001}"#).await;
    assert_eq!((status, &body["id"]), (201, &json!("127.0.0.1:9001")));
    let (status, _) = world.call("POST", path, r#"{"port": 9001}"#).await;
    assert_eq!(status, 200);
    let (_, body) = world.call("GET", "/v1/namespaces/shop/services", "").await;
    assert_eq!(body["services"][0]["instances"], 1);
    let (_, body) = world.call("GET", "/v1/namespaces/other/services", "").await;
    assert_eq!(body["services"], json!([]));
}

#[tokio::test]
async fn refusals_are_problems_with_a_cause() {
    let world = World::new(Env::system());
    let cases = [
        ("GET", "/v1/nothing", "", 404, "path_unknown"),
        ("GET", "/v1/services/orders", "", 404, "service_not_found"),
        (
            "DELETE",
            "/v1/services/orders",
            "",
            405,
            "method_not_allowed",
        ),
        ("PUT", A, "{", 400, "json_invalid"),
        ("PUT", A, "{}", 422, "field_invalid"),
        (
            "PUT",
            A,
            r#"{"port": 1, "ttl": "1ms"}"#,
            422,
            "field_invalid",
        ),
        (
            "DELETE",
            "/v1/services/o/instances/a?drain=2h",
            "",
            400,
            "request_malformed",
        ),
        ("GET", "/v1/events?after=1", "", 410, "history_forgotten"),
        ("GET", "/v1/events?limit=0", "", 400, "request_malformed"),
        ("GET", "/v1/watch?service=a+b", "", 422, "name_invalid"),
    ];
    for (method, path, body, status, cause) in cases {
        let (got, problem) = world.call(method, path, body).await;
        assert_eq!(
            (got, &problem["cause"]),
            (status, &json!(cause)),
            "{path} {problem}"
        );
    }
    let large = format!(r#"{{"port": 1, "zone": "{}"}}"#, "z".repeat(256 << 10));
    let (status, problem) = world.call("PUT", A, &large).await;
    assert_eq!(status, 413, "{problem}");
}

#[tokio::test]
async fn a_watch_tells_what_is_and_then_what_changes() {
    let world = World::new(Env::system());
    world.call("PUT", A, r#"{"port": 1}"#).await;
    let mut events = world.watch("/v1/watch?service=orders").await;
    assert_eq!(events.told().await.0, "reset");
    assert_eq!(events.told().await, told("put", "a"));
    let synced = events.next().await.unwrap();
    assert_eq!(
        (synced.name.as_str(), synced.id),
        ("synced", synced.data["revision"].as_u64())
    );

    world
        .call("PUT", "/v1/services/other/instances/x", r#"{"port": 1}"#)
        .await;
    world
        .call("PUT", "/v1/services/orders/instances/b", r#"{"port": 2}"#)
        .await;
    assert_eq!(events.told().await, told("put", "b"));
    assert_eq!(events.told().await.0, "synced");
    world.call("DELETE", A, "").await;
    assert_eq!(events.told().await, told("remove", "a"));
    drop(events);

    let resume = format!("/v1/watch?service=orders&after={}", synced.id.unwrap());
    let mut events = world.watch(&resume).await;
    assert_eq!(events.told().await, told("remove", "a"));
    assert_eq!(events.told().await, told("put", "b"));
    assert_eq!(events.told().await.0, "synced");
    drop(events);

    let mut events = world.watch("/v1/watch?after=5").await;
    assert_eq!(events.told().await.0, "reset");
}

#[tokio::test]
async fn a_watch_of_everything_tells_every_service() {
    let world = World::new(Env::system());
    let mut events = world.watch("/v1/watch").await;
    assert_eq!(events.told().await.0, "reset");
    let synced = events.next().await.unwrap();
    world.call("PUT", A, r#"{"port": 1}"#).await;
    assert_eq!(events.told().await, told("put", "a"));
    assert_eq!(events.told().await.0, "synced");
    world
        .call("PUT", "/v1/services/other/instances/x", r#"{"port": 1}"#)
        .await;
    assert_eq!(events.told().await, told("put", "x"));

    let resume = format!("/v1/watch?wait=1s&after={}", synced.id.unwrap());
    let (_, body) = world.call("GET", &resume, "").await;
    assert_eq!(body["reset"], false);
    assert_eq!(body["changes"].as_array().unwrap().len(), 2, "{body}");
}

#[tokio::test]
async fn a_long_poll_waits_for_the_next_change_or_its_time() {
    let world = World::new(Env::system());
    world.call("PUT", A, r#"{"port": 1}"#).await;
    let (_, all) = world
        .call("GET", "/v1/watch?service=orders&wait=0s", "")
        .await;
    assert_eq!(
        (&all["reset"], &all["changes"][0]["put"]["id"]),
        (&json!(true), &json!("a"))
    );
    let revision = all["revision"].as_u64().unwrap();
    let path = format!("/v1/watch?service=orders&wait=20ms&after={revision}");
    let (_, none) = world.call("GET", &path, "").await;
    assert_eq!(
        none,
        json!({"revision": revision, "reset": false, "changes": []})
    );
    let path = format!("/v1/watch?service=orders&wait=1m&after={revision}");
    let ((_, some), _) = tokio::join!(world.call("GET", &path, ""), world.call("DELETE", A, ""));
    assert_eq!(some["changes"][0]["remove"]["id"], "a");
}

#[tokio::test]
async fn watches_end_when_the_program_drains() {
    let world = World::new(Env::system());
    let mut events = world.watch("/v1/watch").await;
    assert_eq!(events.told().await.0, "reset");
    assert_eq!(events.told().await.0, "synced");
    world.drain.start();
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_drain_waits_for_requests_in_flight() {
    let world = World::new(Env::system());
    world.call("PUT", A, r#"{"port": 1}"#).await;
    world.in_flight.0.send_replace(2);
    let mut events = world.watch("/v1/watch?service=orders").await;
    let leaving = format!("{A}?drain=1m");
    let ended = async {
        while events.next().await.unwrap().data["leaving"] != true {}
        world.in_flight.0.send_replace(0);
    };
    let ((status, body), ()) = tokio::join!(world.call("DELETE", &leaving, ""), ended);
    assert_eq!((status, &body["drain"]["ended"]), (200, &json!("idle")));
    assert_eq!(world.call("GET", A, "").await.0, 404);
}

#[tokio::test]
async fn a_drain_gives_up_at_its_deadline_and_says_so() {
    let world = World::new(Env::system());
    world.call("PUT", A, r#"{"port": 1}"#).await;
    world.in_flight.0.send_replace(2);
    let (_, body) = world.call("DELETE", &format!("{A}?drain=20ms"), "").await;
    assert_eq!(body["drain"], json!({"ended": "deadline", "in_flight": 2}));
    assert_eq!(world.call("GET", A, "").await.0, 404);
}

#[tokio::test]
async fn whoever_registers_while_draining_stays() {
    let world = World::new(Env::system());
    world.call("PUT", A, r#"{"port": 1}"#).await;
    world.in_flight.0.send_replace(1);
    let mut events = world.watch("/v1/watch?service=orders").await;
    let leaving = format!("{A}?drain=1m");
    let back = async {
        while events.next().await.unwrap().data["leaving"] != true {}
        world.call("PUT", A, r#"{"port": 1}"#).await;
        world.in_flight.0.send_replace(0);
    };
    let ((_, body), ()) = tokio::join!(world.call("DELETE", &leaving, ""), back);
    assert_eq!(body["drain"]["ended"], "returned");
    assert_eq!(world.call("GET", A, "").await.0, 200);
}

#[tokio::test]
async fn the_registry_is_a_source_from_the_start() {
    let world = World::new(Env::system());
    // Whatever the registry answers comes after its first word.
    world.registry.resume().await.unwrap();
    let (_, body) = world.call("GET", "/v1/sources", "").await;
    assert_eq!(
        (&body["sources"][0]["id"], &body["sources"][0]["instances"]),
        (&json!("registry"), &json!(0))
    );
    assert_eq!(
        world.call("GET", "/v1/events", "").await.1["events"],
        json!([])
    );
}

#[tokio::test]
async fn a_note_alone_leaves_the_status_as_it_was() {
    let world = World::new(Env::system());
    world
        .call("PUT", A, r#"{"port": 1, "status": "warning"}"#)
        .await;
    let heartbeat = format!("{A}/heartbeat");
    world
        .call("PUT", &heartbeat, r#"{"note": "the disk is full"}"#)
        .await;
    let (_, body) = world.call("GET", A, "").await;
    assert_eq!(
        (&body["status"], &body["note"]),
        (&json!("warning"), &json!("the disk is full"))
    );
}

#[tokio::test]
async fn an_override_outlives_what_the_instance_says() {
    let world = World::new(Env::system());
    let path = format!("{A}/override");
    let ruling = r#"{"override": "drain", "weight": 7, "reason": "disk swap"}"#;
    let (status, body) = world.call("PUT", &path, ruling).await;
    assert_eq!(
        (status, &body["override"]),
        (200, &json!("drain")),
        "{body}"
    );
    assert_eq!(
        (&body["actor"], &body["reason"]),
        (&json!("127.0.0.1"), &json!("disk swap"))
    );
    world.call("PUT", A, r#"{"port": 9001}"#).await;
    let (_, body) = world.call("GET", A, "").await;
    assert_eq!(
        (&body["is_open"], &body["weight"]),
        (&json!(false), &json!(7))
    );
    assert_eq!(body["ruling"]["reason"], "disk swap");
    world.call("DELETE", A, "").await;
    let (_, body) = world.call("GET", "/v1/overrides", "").await;
    assert_eq!(body["overrides"][0]["id"], "a");
    let (status, _) = world.call("GET", &path, "").await;
    assert_eq!(status, 200);
    world.call("PUT", A, r#"{"port": 9001}"#).await;
    let (status, body) = world.call("DELETE", &path, "").await;
    assert_eq!(status, 200);
    assert!(body["revision"].is_u64());
    let (_, body) = world.call("GET", A, "").await;
    assert_eq!(
        (&body["is_open"], &body["weight"]),
        (&json!(true), &json!(100))
    );
    for method in ["GET", "DELETE"] {
        let (status, body) = world.call(method, &path, "").await;
        assert_eq!(
            (status, &body["cause"]),
            (404, &json!("override_not_found"))
        );
    }
    for (body, status) in [
        ("{}", 422),
        (r#"{"override": "gone"}"#, 400),
        (r#"{"weight": 0}"#, 400),
    ] {
        assert_eq!(world.call("PUT", &path, body).await.0, status, "{body}");
    }
}

#[tokio::test]
async fn many_beat_in_one_request() {
    let world = World::new(Env::system());
    world.call("PUT", A, r#"{"port": 9001}"#).await;
    let beat = r#"{"instances": [{"service": "orders", "id": "a"}, {"service": "orders", "namespace": "shop", "id": "b"}]}"#;
    let (status, body) = world.call("POST", "/v1/heartbeats", beat).await;
    assert_eq!((status, &body["renewed"]), (200, &json!(1)), "{body}");
    assert_eq!(
        body["missing"],
        json!([{"service": "orders", "namespace": "shop", "id": "b"}])
    );
    let many = |count: usize| {
        let which = json!({"service": "orders", "id": "a"});
        json!({"instances": vec![which; count]}).to_string()
    };
    assert_eq!(
        world.call("POST", "/v1/heartbeats", &many(1_000)).await.0,
        200
    );
    assert_eq!(
        world.call("POST", "/v1/heartbeats", &many(1_001)).await.0,
        422
    );
}

#[tokio::test]
async fn a_patch_is_seen_by_the_next_reader() {
    let world = World::new(Env::system());
    let (status, _) = world.call("PATCH", A, r#"{"zone": "z"}"#).await;
    assert_eq!(status, 404);
    world
        .call("PUT", A, r#"{"port": 9001, "metadata": {"env": "prod"}}"#)
        .await;
    let patch = r#"{"zone": "z", "metadata": {"env": null, "team": "shop"}}"#;
    assert_eq!(world.call("PATCH", A, patch).await.0, 200);
    let (_, body) = world.call("GET", A, "").await;
    assert_eq!(
        (&body["zone"], &body["metadata"]),
        (&json!("z"), &json!({"team": "shop"}))
    );
    assert_eq!(world.call("PATCH", A, r#"{"port": 1}"#).await.0, 400);
    let forged = r#"{"port": 9001, "metadata": {"consul:record": "{}"}}"#;
    assert_eq!(world.call("PUT", A, forged).await.0, 422);
    let forged = r#"{"metadata": {"consul:record": "{}"}}"#;
    assert_eq!(world.call("PATCH", A, forged).await.0, 422);
}

#[tokio::test]
async fn instances_are_listed_by_what_they_are() {
    let world = World::new(Env::system());
    let base = "/v1/services/orders/instances";
    let b = r#"{"port": 9002, "zone": "z2", "tags": ["x", "y"], "metadata": {"env": "test"}}"#;
    world
        .call(
            "PUT",
            A,
            r#"{"port": 9001, "version": "v1", "metadata": {"env": "prod"}}"#,
        )
        .await;
    world.call("PUT", &format!("{base}/b"), b).await;
    let cases = [
        ("", vec!["a", "b"]),
        ("?metadata.env=prod", vec!["a"]),
        ("?zone=z2", vec!["b"]),
        ("?tag=x&tag=y", vec!["b"]),
        ("?tag=x&version=v1", vec![]),
        ("?version=v1", vec!["a"]),
        ("?status=passing&open=true", vec!["a", "b"]),
        ("?open=false", vec![]),
    ];
    for (query, ids) in cases {
        let (status, body) = world.call("GET", &format!("{base}{query}"), "").await;
        assert_eq!(status, 200, "{query}: {body}");
        assert!(serde_json::from_value::<InstanceList>(body.clone()).is_ok());
        let listed = body["instances"].as_array().unwrap();
        let listed: Vec<_> = listed
            .iter()
            .map(|one| one["id"].as_str().unwrap())
            .collect();
        assert_eq!(listed, ids, "{query}");
    }
    for query in [
        "?zones=z2",
        "?open=maybe",
        "?status=fine",
        "?at=yesterday",
        "?at=99999999999999999",
    ] {
        assert_eq!(
            world.call("GET", &format!("{base}{query}"), "").await.0,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn earlier_revisions_can_be_asked_for() {
    let world = World::new(Env::system());
    let base = "/v1/services/orders/instances";
    let (_, first) = world
        .call("PUT", A, r#"{"port": 9001, "version": "v1"}"#)
        .await;
    world
        .call("PUT", A, r#"{"port": 9001, "version": "v2"}"#)
        .await;
    world.call("DELETE", A, "").await;
    let at = |at: &str| format!("{base}?at={at}");
    let (_, body) = world
        .call("GET", &at(&first["revision"].to_string()), "")
        .await;
    assert_eq!(body["instances"][0]["version"], "v1");
    assert_eq!(body["revision"], first["revision"]);
    let (_, body) = world.call("GET", base, "").await;
    assert_eq!(body["instances"], json!([]));
    let (status, body) = world.call("GET", &at("1"), "").await;
    assert_eq!((status, &body["cause"]), (410, &json!("history_forgotten")));
    let (status, _) = world.call("GET", &at("2026-01-01T00:00:00Z"), "").await;
    assert_eq!(status, 410, "before the journal begins");
    let (status, body) = world.call("GET", &at("2999-01-01T00:00:00Z"), "").await;
    assert_eq!((status, &body["instances"]), (200, &json!([])));
}

#[tokio::test]
async fn a_list_is_filtered_by_a_condition() {
    let world = World::new(Env::system());
    let all = "/v1/services/orders/instances";
    for (id, zone, weight) in [("a", "z1", 10), ("b", "z2", 50), ("c", "z1", 100)] {
        let body = json!({"port": 1, "zone": zone, "weight": weight, "metadata": {"n": id}});
        let path = format!("{all}/{id}");
        world.call("PUT", &path, &body.to_string()).await;
    }
    for (filter, expected) in [
        ("zone=='z1'", vec!["a", "c"]),
        ("zone=='z1'%26%26weight%3E50", vec!["c"]),
        ("metadata.n%20in%20['b','c']", vec!["b", "c"]),
        ("note==null", vec!["a", "b", "c"]),
        ("metadata.x=='y'", vec![]),
        ("is_open%26%26zone=='z1'&zone=z1&version=v2", vec![]),
    ] {
        let path = format!("{all}?filter={filter}");
        let (status, body) = world.call("GET", &path, "").await;
        assert_eq!(status, 200, "{filter} {body}");
        let ids = body["instances"].as_array().unwrap().iter();
        let ids: Vec<_> = ids
            .map(|instance| instance["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, expected, "{filter}");
    }
    let list = format!("[{}]", vec!["0"; 100].join(","));
    let costly = format!("{list}.all(a,{list}.all(b,{list}.all(c,true)))");
    for (filter, detail) in [
        (
            "zone==",
            "`filter`, column 7: a value is expected here, not the end",
        ),
        (
            "zon==1",
            "`filter`, column 1: no field `zon`; there are service, id",
        ),
        ("weight", "`filter`, column 1: a bool is expected here"),
        (
            costly.as_str(),
            "`filter`, it takes more than 100000 steps for one object",
        ),
    ] {
        let path = format!("{all}?filter={filter}");
        let (status, body) = world.call("GET", &path, "").await;
        assert_eq!(
            (status, &body["cause"]),
            (400, &json!("request_malformed")),
            "{body}"
        );
        assert!(
            body["detail"].as_str().unwrap().starts_with(detail),
            "{body}"
        );
    }
}

#[tokio::test]
async fn everybody_in_a_long_line_is_answered() {
    let world = World::new(Env::system());
    let registry = &world.registry;
    // More than the desk serves in one go, and fewer than may be lined up.
    let asked = (0..1_000).map(|number| {
        let subject = Subject {
            key: ServiceKey::parse("orders").unwrap(),
            id: InstanceId::parse(&format!("i{number}")).unwrap(),
        };
        Box::pin(registry.renew(None, subject, None))
    });
    let mut asked: Vec<_> = asked.collect();
    let mut answers = Vec::new();
    // Without a budget, so that all are lined up before the desk has its turn.
    tokio::task::unconstrained(poll_fn(|context| {
        asked.retain_mut(|one| match one.as_mut().poll(context) {
            Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            Poll::Pending => true,
        });
        if asked.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }))
    .await;
    let unknown = |answer: &Result<_, RegistryError>| matches!(answer, Err(RegistryError::Unknown));
    assert_eq!(answers.len(), 1_000);
    assert!(
        answers.iter().all(unknown),
        "{:?}",
        answers.iter().find(|one| !unknown(one))
    );
}
