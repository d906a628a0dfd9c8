//! Consul's API over real HTTP on loopback.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

// The same world as the registry's own tests.
#[path = "../../registry/tests/common/mod.rs"]
mod common;

mod agent;

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use agent::Agent;
use portolan_dialects::native::Registration;
use portolan_model::{ServiceKey, SourceId};
use serde_json::{Value, json};

/// Waits until a claim about the world holds; it is made again whenever it does not.
macro_rules! until {
    ($condition:expr) => {
        let waited = async {
            while !$condition {
                tokio::task::yield_now().await;
            }
        };
        let limit = Duration::from_secs(10);
        tokio::time::timeout(limit, waited)
            .await
            .expect("it never came true");
    };
}

#[tokio::test]
async fn a_service_lives_by_its_ttl_check() {
    let agent = Agent::new();
    let web = json!({"Name": "web", "ID": "web:1", "Port": 80, "Tags": ["a"], "Meta": {"k": "v"},
                     "Check": {"TTL": "10m"}});
    assert_eq!(agent.put("agent/service/register", &web).await.text, "");
    assert_eq!(agent.ids("web").await, ["web:1"]);
    assert!(
        agent.ids("web?passing").await.is_empty(),
        "nobody was told that it works"
    );
    assert_eq!(agent.status("service:web:1").await.0, "critical");

    agent
        .put("agent/check/pass/service:web:1?note=fine", &Value::Null)
        .await;
    assert_eq!(agent.ids("web?passing=true").await, ["web:1"]);
    assert_eq!(
        agent.status("service:web:1").await,
        ("passing".into(), "fine".into())
    );
    agent
        .put("agent/check/warn/service:web:1", &Value::Null)
        .await;
    assert!(agent.ids("web?passing").await.is_empty());
    let update = json!({"Status": "critical", "Output": "disk full"});
    agent.put("agent/check/update/service:web:1", &update).await;
    let (status, output) = agent.status("service:web:1").await;
    assert_eq!((&*status, &*output), ("critical", "disk full"));
    let native = agent
        .world
        .call("GET", "/v1/services/web/instances/web:1", "")
        .await
        .1;
    assert_eq!(
        (&native["status"], &native["note"]),
        (&json!("critical"), &json!("disk full"))
    );

    agent
        .put("agent/service/deregister/web:1", &Value::Null)
        .await;
    assert!(agent.ids("web").await.is_empty());
    let (status, text) = agent
        .refused("PUT", "agent/check/pass/service:web:1", "")
        .await;
    assert_eq!(status, 404);
    assert!(text.starts_with("Unknown check ID"), "{text}");
    assert_eq!(
        agent
            .refused("PUT", "agent/service/deregister/web:1", "")
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn a_check_that_falls_silent_is_critical_and_its_service_goes_in_time() {
    let agent = Agent::new();
    let web = json!({"Name": "web", "Check": {
        "TTL": "100ms", "Status": "passing", "DeregisterCriticalServiceAfter": "300ms"}});
    agent.put("agent/service/register", &web).await;
    assert_eq!(agent.ids("web?passing").await, ["web"]);
    until!(agent.ids("web?passing").await.is_empty());
    let (status, output) = agent.status("service:web").await;
    assert_eq!((&*status, &*output), ("critical", "TTL expired"));
    until!(agent.ids("web").await.is_empty());
}

#[tokio::test]
async fn answers_have_the_headers_and_shapes_of_consul() {
    let agent = Agent::new();
    let web = json!({"Name": "Web", "Port": 80, "Address": "10.0.0.1", "Tags": ["b", "a"]});
    agent.put("agent/service/register", &web).await;
    let answer = agent.get("health/service/Web").await;
    let entry = &answer.body[0];
    assert_eq!(entry["Node"]["Node"], "here");
    assert_eq!(entry["Service"]["Address"], "10.0.0.1");
    assert_eq!(entry["Checks"][0]["CheckID"], "serfHealth");
    assert!(answer.index() > 0 && answer.index() < 1 << 53);
    assert_eq!(answer.headers["x-consul-knownleader"], "true");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(agent.get("health/service/nobody").await.text, "[]");

    let services = agent.get("catalog/services?stale").await;
    assert_eq!(services.body, json!({"Web": ["a", "b"], "consul": []}));
    assert_eq!(services.headers["x-consul-effective-consistency"], "stale");
    let rows = agent.get("catalog/service/Web").await.body;
    assert_eq!(
        (&rows[0]["ServiceID"], &rows[0]["Datacenter"]),
        (&json!("Web"), &json!("dc1"))
    );
    assert_eq!(
        agent.get("catalog/node/here").await.body["Services"]["Web"]["Port"],
        80
    );
    assert_eq!(agent.get("catalog/node/none").await.body, Value::Null);
    assert_eq!(agent.get("catalog/datacenters").await.body, json!(["dc1"]));
    assert_eq!(agent.get("catalog/nodes").await.body[0]["Node"], "here");
    assert_eq!(agent.get("status/leader").await.text, "\"127.0.0.1:8300\"");
    // py-consul refuses lists of coordinates without an index.
    assert!(agent.get("coordinate/nodes").await.index() > 0);
    let itself = agent.get("agent/self").await.body;
    assert_eq!(itself["Config"]["NodeName"], "here");
    assert_eq!(agent.get("agent/members").await.body[0], itself["Member"]);
    for path in [
        "coordinate/nodes",
        "operator/usage",
        "connect/ca/roots",
        "operator/autopilot/health",
        "operator/raft/configuration",
        "coordinate/datacenters",
        "agent/metrics",
        "config/service-defaults",
        "catalog/connect/Web",
        "health/connect/Web",
    ] {
        agent.get(path).await;
    }
}

#[tokio::test]
async fn filters_tags_and_labels_choose() {
    let agent = Agent::new();
    for (id, tag) in [("w1", "prod"), ("w2", "test")] {
        let web = json!({"Name": "web", "ID": id, "Tags": [tag], "Meta": {"stage": tag}});
        agent.put("agent/service/register", &web).await;
    }
    assert_eq!(agent.ids("web?tag=PROD").await, ["w1"]);
    assert_eq!(agent.ids("web?tag=prod&tag=test").await, [""; 0]);
    let filter = "web?filter=Service.Meta.stage%20==%20%60test%60";
    assert_eq!(agent.ids(filter).await, ["w2"]);
    let chosen = agent
        .get("agent/services?filter=%22prod%22%20in%20Tags")
        .await
        .body;
    assert_eq!(
        chosen.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["w1"]
    );
    let tags = agent
        .get("catalog/services?filter=prod%20in%20ServiceTags")
        .await
        .body;
    assert_eq!(tags, json!({"web": ["prod"]}));
    for path in [
        "health/service/none?filter=Nope==1",
        "agent/checks?filter=((",
        "health/service/web?passing=maybe",
        "health/service/web?stale&consistent",
        "health/service/web?index=x",
        "health/state/odd",
    ] {
        assert_eq!(agent.refused("GET", path, "").await.0, 400, "{path}");
    }
    assert_eq!(
        agent.refused("GET", "catalog/nodes?dc=dc2", "").await.0,
        500
    );
}

#[tokio::test]
async fn a_blocking_query_waits_for_its_service_and_no_other() {
    let agent = Agent::new();
    let service = |name: &str, tag: &str| json!({"Name": name, "Tags": [tag]});
    agent
        .put("agent/service/register", &service("web", "1"))
        .await;
    let index = agent.get("health/service/web").await.index();
    let timed_out = agent
        .get(&format!("health/service/web?index={index}&wait=20ms"))
        .await;
    assert_eq!(
        (timed_out.index(), timed_out.body.as_array().unwrap().len()),
        (index, 1)
    );

    let path = format!("health/service/web?index={index}&wait=60s");
    let changes = async {
        agent
            .put("agent/service/register", &service("other", "1"))
            .await;
        agent
            .put("agent/service/register", &service("web", "2"))
            .await;
    };
    let (answer, ()) = tokio::join!(agent.get(&path), changes);
    assert!(answer.index() > index);
    assert_eq!(
        answer.body[0]["Service"]["Tags"],
        json!(["2"]),
        "the other one woke it"
    );

    let unknown = agent.get("health/service/later").await.index();
    let path = format!("health/service/later?index={unknown}&wait=60s");
    let later = service("later", "1");
    let register = agent.put("agent/service/register", &later);
    let (found, _) = tokio::join!(agent.get(&path), register);
    assert_eq!(found.body.as_array().unwrap().len(), 1);
    let all = agent.get("catalog/services").await.index();
    let path = format!("catalog/services?index={all}&wait=60s");
    let (services, _) = tokio::join!(
        agent.get(&path),
        agent.put("agent/service/deregister/later", &Value::Null)
    );
    assert!(services.body.get("later").is_none(), "{}", services.text);
    let any = agent.get("health/state/any").await.index();
    let path = format!("health/state/any?index={any}&wait=60s");
    let disk = json!({"Name": "disk", "TTL": "1h"});
    let register = agent.put("agent/check/register", &disk);
    let (checks, _) = tokio::join!(agent.get(&path), register);
    assert!(checks.text.contains("disk"), "a node's check wakes, too");
}

#[tokio::test]
async fn maintenance_takes_a_service_out_and_puts_it_back() {
    let agent = Agent::new();
    agent
        .put(
            "agent/service/register",
            &json!({"Name": "web", "Port": 80}),
        )
        .await;
    agent
        .put(
            "agent/service/maintenance/web?enable=true&reason=test",
            &Value::Null,
        )
        .await;
    let checks = agent.get("agent/checks").await.body;
    assert_eq!(checks["_service_maintenance:web"]["Notes"], "test");
    assert!(agent.ids("web?passing").await.is_empty());
    let path = "/v1/services/web/instances/web";
    let native = agent.world.call("GET", path, "").await.1;
    assert_eq!(
        (&native["override"], &native["is_open"]),
        (&json!("maintenance"), &json!(false))
    );
    agent
        .put("agent/service/maintenance/web?enable=false", &Value::Null)
        .await;
    assert_eq!(agent.ids("web?passing").await, ["web"]);

    agent
        .put("agent/maintenance?enable=true&reason=all", &Value::Null)
        .await;
    assert_eq!(
        agent.get("agent/checks").await.body["_node_maintenance"]["Notes"],
        "all"
    );
    assert!(agent.ids("web?passing").await.is_empty());
    agent
        .put("agent/maintenance?enable=false", &Value::Null)
        .await;
    assert_eq!(agent.ids("web?passing").await, ["web"]);
    for path in [
        "agent/service/maintenance/web",
        "agent/maintenance?enable=x",
    ] {
        assert_eq!(agent.refused("PUT", path, "").await.0, 400);
    }
    let nobody = "agent/service/maintenance/nobody?enable=true";
    assert_eq!(agent.refused("PUT", nobody, "").await.0, 404);
}

#[tokio::test]
async fn nodes_are_registered_by_hand() {
    let agent = Agent::new();
    let register = json!({"Node": "n1", "Address": "10.1.10.11", "Service": {"service": "s1"},
        "Check": {"name": "c1", "status": "passing"}, "NodeMeta": {"rack": "a"}});
    assert_eq!(agent.put("catalog/register", &register).await.text, "true");
    let second =
        json!({"Node": "n2", "Address": "10.1.10.12", "Service": {"service": "s1", "tags": ["m"]}});
    agent.put("catalog/register", &second).await;
    let rows = agent.get("catalog/service/s1").await.body;
    let nodes: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["Node"])
        .collect();
    assert_eq!(nodes, ["n1", "n2"]);
    let labelled = agent.get("catalog/service/s1?node-meta=rack:a").await.body;
    assert_eq!(labelled.as_array().unwrap().len(), 1);
    assert_eq!(agent.get("health/node/n1").await.body[0]["CheckID"], "c1");
    assert!(
        !agent.get("agent/services").await.text.contains("s1"),
        "they are not the agent's"
    );

    agent
        .put(
            "catalog/deregister",
            &json!({"Node": "n1", "CheckID": "c1"}),
        )
        .await;
    assert_eq!(agent.get("health/node/n1").await.text, "[]");
    agent
        .put(
            "catalog/deregister",
            &json!({"Node": "n2", "ServiceID": "s1"}),
        )
        .await;
    let nodes = agent.get("catalog/nodes").await.body;
    assert_eq!(
        nodes.as_array().unwrap().len(),
        3,
        "a node stays without services"
    );
    agent
        .put("catalog/deregister", &json!({"Node": "n1"}))
        .await;
    agent
        .put("catalog/deregister", &json!({"Node": "n2"}))
        .await;
    assert_eq!(agent.get("catalog/service/s1").await.text, "[]");
    assert_eq!(
        agent
            .get("catalog/nodes")
            .await
            .body
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let bad = agent
        .refused("PUT", "catalog/register", r#"{"Node": "n"}"#)
        .await;
    assert_eq!(bad, (500, "Must provide node and address".to_owned()));
}

#[tokio::test]
async fn the_agent_s_health_endpoints_speak_by_status() {
    let agent = Agent::new();
    let web = json!({"Name": "web", "Check": {"TTL": "10m", "Status": "passing"}});
    agent.put("agent/service/register", &web).await;
    let by = |what: &'static str| agent.call("GET", what, "");
    let (id, name) = (
        "agent/health/service/id/web",
        "agent/health/service/name/web?format=text",
    );
    assert_eq!(by(id).await.status, 200);
    assert_eq!(by(name).await.text, "passing");
    agent
        .put("agent/check/warn/service:web", &Value::Null)
        .await;
    assert_eq!(by(id).await.status, 429);
    agent
        .put("agent/check/fail/service:web", &Value::Null)
        .await;
    let failed = by(id).await;
    assert_eq!(
        (failed.status, &failed.body["AggregatedStatus"]),
        (503, &json!("critical"))
    );
    assert_eq!(by("agent/health/service/name/none").await.status, 404);

    let one = agent.get("agent/service/web").await.body;
    let hash = one["ContentHash"].as_str().unwrap();
    let path = format!("agent/service/web?hash={hash}&wait=60s");
    let again = json!({"Name": "web", "Port": 81});
    let (next, _) = tokio::join!(
        agent.get(&path),
        agent.put("agent/service/register", &again)
    );
    assert_eq!(next.body["Port"], 81);
    assert_eq!(by("agent/service/none").await.status, 404);
}

#[tokio::test]
async fn instances_of_other_protocols_are_services_of_consul() {
    let agent = Agent::new();
    let registration: Registration =
        serde_json::from_str(r#"{"port": 9001, "status": "starting"}"#).unwrap();
    let key = ServiceKey::parse("orders").unwrap();
    let here = Ipv4Addr::LOCALHOST.into();
    let source = SourceId::new("registry");
    let described = registration.describe(key, None, here, &source).unwrap();
    agent
        .world
        .registry
        .register(None, described)
        .await
        .unwrap();
    let entry = agent.get("health/service/orders").await.body[0].clone();
    assert_eq!(
        (&entry["Service"]["Port"], &entry["Checks"][1]["Status"]),
        (&json!(9001), &json!("critical"))
    );
    assert_eq!(
        agent.get("agent/services").await.text,
        "{}",
        "it is not the agent's"
    );
}

#[tokio::test]
async fn events_are_fired_and_listed() {
    let agent = Agent::new();
    let fired = agent
        .call("PUT", "event/fire/deploy?service=web", "now")
        .await;
    assert_eq!(
        (fired.status, &fired.body["Payload"]),
        (200, &json!("bm93"))
    );
    let listed = agent.get("event/list?name=deploy").await;
    assert_eq!(listed.body[0]["ID"], fired.body["ID"]);
    assert_eq!(agent.get("event/list?name=other").await.text, "[]");
    let path = format!("event/list?index={}&wait=60s", listed.index());
    let (next, _) = tokio::join!(agent.get(&path), agent.call("PUT", "event/fire/other", ""));
    assert_eq!(next.body.as_array().unwrap().len(), 2);
    let large = "x".repeat(513);
    assert_eq!(agent.refused("PUT", "event/fire/x", &large).await.0, 413);
    for _ in 0..256 {
        agent.call("PUT", "event/fire/many", "").await;
    }
    assert_eq!(
        agent.get("event/list").await.body.as_array().unwrap().len(),
        256
    );
}

#[tokio::test]
async fn refusals_are_plain_texts() {
    let agent = Agent::new();
    let cases = [
        (
            "PUT",
            "agent/service/register",
            "{}",
            400,
            "Missing service name",
        ),
        (
            "PUT",
            "agent/service/register",
            "{",
            400,
            "Request decode failed",
        ),
        (
            "PUT",
            "agent/check/register",
            r#"{"Name": "c", "TTL": "1s", "ServiceID": "x"}"#,
            404,
            "does not exist",
        ),
        (
            "GET",
            "agent/service/register",
            "",
            405,
            "method GET not allowed",
        ),
        ("GET", "nothing", "", 404, "Invalid URL path"),
        ("GET", "operator/keyring", "", 500, "keyring is empty"),
        ("GET", "acl/tokens", "", 401, "ACL support disabled"),
        (
            "PUT",
            "agent/token/default",
            "{}",
            401,
            "ACL support disabled",
        ),
        ("PUT", "agent/force-leave/x", "", 500, "No node found"),
    ];
    for (method, path, body, status, text) in cases {
        let answer = agent.call(method, path, body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert!(answer.text.contains(text), "{path}: {}", answer.text);
        assert!(answer.headers["content-type"].starts_with("text/plain"));
    }
    let answer = agent.call("DELETE", "agent/services", "").await;
    assert_eq!(answer.headers["allow"], "GET");
    let large = format!("{{\"Name\": \"{}\"}}", "x".repeat(512 << 10));
    assert_eq!(
        agent
            .refused("PUT", "agent/service/register", &large)
            .await
            .0,
        413
    );
}

#[tokio::test]
async fn a_successor_knows_what_registered_with_its_predecessor() {
    let agent = Agent::new();
    let web = json!({"Name": "web", "Check": {"TTL": "10m"}});
    agent.put("agent/service/register", &web).await;
    let handed = agent.world.registry.export().await.unwrap();
    let next = Agent::new();
    next.world.registry.adopt(handed).await.unwrap();
    assert_eq!(next.ids("web").await, ["web"]);
    next.put("agent/check/pass/service:web", &Value::Null).await;
    assert_eq!(next.ids("web?passing").await, ["web"]);
    next.put("agent/service/deregister/web", &Value::Null).await;
    assert!(next.ids("web").await.is_empty());
}

/// A port that takes connections until it is dropped.
fn listening() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test]
async fn every_check_is_run_wherever_it_is_and_the_worst_counts() {
    let agent = Agent::new();
    let (one, first) = listening();
    let (_two, second) = listening();
    // It has no port of its own.
    let web = json!({"Name": "web", "Checks": [
        {"TCP": first, "Interval": "100ms"},
        {"TCP": second, "Interval": "100ms"},
        {"TTL": "10m"},
    ]});
    agent.put("agent/service/register", &web).await;
    until!(agent.status("service:web:1").await.0 == "passing");
    until!(agent.status("service:web:2").await.0 == "passing");
    assert_eq!(agent.status("service:web:3").await.0, "critical");
    assert!(agent.ids("web?passing").await.is_empty());
    agent
        .put("agent/check/pass/service:web:3", &Value::Null)
        .await;
    assert_eq!(agent.ids("web?passing").await, ["web"]);
    let refused = |text: &str| text.contains("connection refused");
    drop(one);
    until!(agent.status("service:web:1").await.0 == "critical");
    assert!(refused(&agent.status("service:web:1").await.1));
    assert_eq!(agent.status("service:web:2").await.0, "passing");
    assert!(agent.ids("web?passing").await.is_empty());
    let health = agent.call("GET", "agent/health/service/id/web", "").await;
    assert_eq!(health.status, 503);
    let native = agent
        .world
        .call("GET", "/v1/services/web/instances/web", "");
    assert!(refused(native.await.1["note"].as_str().unwrap()));
}

#[tokio::test]
async fn a_service_whose_probed_check_stays_critical_goes() {
    let agent = Agent::new();
    let (listener, address) = listening();
    drop(listener);
    let web = json!({"Name": "web", "Check": {
        "TCP": address, "Interval": "100ms", "DeregisterCriticalServiceAfter": "1s"}});
    agent.put("agent/service/register", &web).await;
    assert_eq!(agent.ids("web").await, ["web"]);
    until!(agent.ids("web").await.is_empty());
}

#[tokio::test]
async fn checks_of_the_node_are_run_and_count_for_everybody_on_it() {
    let agent = Agent::new();
    agent
        .put("agent/service/register", &json!({"Name": "web"}))
        .await;
    assert_eq!(agent.ids("web?passing").await, ["web"]);
    let index = agent.get("health/service/web").await.index();
    let (listener, address) = listening();
    let port = json!({"Name": "port", "TCP": address, "Interval": "100ms", "Status": "passing"});
    agent.put("agent/check/register", &port).await;
    assert_eq!(agent.ids("web?passing").await, ["web"]);
    drop(listener);
    until!(agent.ids("web?passing").await.is_empty());
    assert_eq!(agent.status("port").await.0, "critical");
    let woken = agent
        .get(&format!("health/service/web?index={index}&wait=60s"))
        .await;
    assert_eq!(woken.body[0]["Checks"][1]["CheckID"], "port");
    agent.put("agent/check/deregister/port", &Value::Null).await;
    assert_eq!(agent.ids("web?passing").await, ["web"]);

    let disk = json!({"Name": "the disk", "TTL": "100ms", "Status": "passing"});
    agent.put("agent/check/register", &disk).await;
    until!(agent.status("the disk").await == ("critical".into(), "TTL expired".into()));
    agent
        .put("agent/check/pass/the%20disk?note=ok", &Value::Null)
        .await;
    assert!(agent.get("health/node/here").await.text.contains("ok"));
}

#[tokio::test]
async fn what_an_operator_patched_survives_other_checks() {
    let agent = Agent::new();
    let web = json!({"Name": "web", "Port": 80, "Meta": {"a": "1"}, "Check": {"TTL": "10m"}});
    agent.put("agent/service/register", &web).await;
    let path = "/v1/services/web/instances/web";
    let changes = json!({"metadata": {"team": "shop"}, "weight": 50}).to_string();
    assert_eq!(agent.world.call("PATCH", path, &changes).await.0, 200);
    let disk = json!({"Name": "disk", "TTL": "10m", "ServiceID": "web", "Status": "passing"});
    agent.put("agent/check/register", &disk).await;
    agent
        .put("agent/check/pass/service:web", &Value::Null)
        .await;
    let native = agent.world.call("GET", path, "").await.1;
    assert_eq!(
        (&native["metadata"]["team"], &native["weight"]),
        (&json!("shop"), &json!(50))
    );
    let meta = agent.get("agent/service/web").await.body["Meta"].clone();
    assert_eq!(meta, json!({"a": "1", "team": "shop"}));
    assert_eq!(agent.ids("web?passing").await, ["web"]);
    agent.put("agent/check/deregister/disk", &Value::Null).await;
    assert_eq!(agent.world.call("GET", path, "").await.1["weight"], 50);
}

#[tokio::test]
async fn secrets_of_checks_are_not_shown_to_readers_of_the_native_api() {
    let agent = Agent::new();
    let web = json!({"Name": "web", "Check": {
        "HTTP": "http://127.0.0.1:1/", "Interval": "10m",
        "Header": {"Authorization": ["Bearer hush"]}}});
    agent.put("agent/service/register", &web).await;
    for path in ["/v1/services/web/instances/web", "/v1/services/web"] {
        let (status, native) = agent.world.call("GET", path, "").await;
        assert_eq!(status, 200);
        assert!(!native.to_string().contains("hush"), "{native}");
    }
}

#[tokio::test]
async fn a_check_is_not_taken_from_a_service_that_the_caller_may_not_write() {
    let agent = Agent::new();
    let db = json!({"Name": "db", "Check": {"TTL": "10m"}});
    agent.put("agent/service/register", &db).await;
    agent.limit_to(
        r#"service "web" { policy = "write" } service "db" { policy = "read" }
           node_prefix "" { policy = "read" }"#,
    );
    let check = |id: &str| {
        json!({"Node": "here", "Address": "127.0.0.1", "Service": {"Service": "web"},
               "Checks": [{"CheckID": id, "Name": "c", "ServiceID": "web"}]})
    };
    let stolen = check("service:db").to_string();
    assert_eq!(
        agent.refused("PUT", "catalog/register", &stolen).await.0,
        403
    );
    agent.put("catalog/register", &check("own")).await;
    agent.put("catalog/register", &check("own")).await;
    let of_db = agent.get("health/checks/db").await.body;
    assert_eq!(of_db[0]["CheckID"], "service:db");
}

#[tokio::test]
async fn a_node_is_made_by_who_may_write_it_only() {
    let agent = Agent::new();
    let known = json!({"Node": "known", "Address": "10.0.0.1"});
    agent.put("catalog/register", &known).await;
    agent.limit_to(r#"service "web" { policy = "write" }"#);
    let body = |node: &str, service: Value| json!({"Node": node, "Address": "10.0.0.9", "SkipNodeUpdate": true, "Service": service});
    let web = json!({"Service": "web", "Port": 80});
    let denied = [
        body("new", web.clone()),
        body("new", Value::Null),
        body("known", Value::Null),
    ];
    for body in denied {
        let body = body.to_string();
        let (status, text) = agent.refused("PUT", "catalog/register", &body).await;
        assert!(
            status == 403 && text.contains("node:write"),
            "{body}: {text}"
        );
    }
    agent.put("catalog/register", &body("known", web)).await;
}

#[tokio::test]
async fn who_writes_every_service_does_not_take_out_the_node() {
    let agent = Agent::new();
    let path = "agent/maintenance?enable=true";
    agent.limit_to(r#"service_prefix "" { policy = "write" }"#);
    let (status, text) = agent.refused("PUT", path, "").await;
    assert!(status == 403 && text.contains("node:write"), "{text}");
    agent.limit_to(r#"node "here" { policy = "write" }"#);
    assert_eq!(agent.call("PUT", path, "").await.status, 200);
}

#[tokio::test]
async fn programs_are_run_only_where_that_is_allowed() {
    let agent = Agent::new();
    let web = json!({"Name": "web", "Check": {"Args": ["echo", "well"], "Interval": "100ms"}});
    let (status, text) = agent
        .refused("PUT", "agent/service/register", &web.to_string())
        .await;
    assert!(
        status == 400 && text.contains("Scripts are disabled"),
        "{text}"
    );
    agent
        .programs
        .send_modify(|reach| reach.runs_programs = true);
    agent.put("agent/service/register", &web).await;
    until!(agent.status("service:web").await == ("passing".into(), "well".into()));
}

#[tokio::test]
async fn an_alias_follows_a_service_or_the_node() {
    let agent = Agent::new();
    let side = json!({"Name": "side", "Checks": [{"AliasService": "web-1"}]});
    agent.put("agent/service/register", &side).await;
    let node = json!({"Name": "node", "AliasNode": "here"});
    agent.put("agent/check/register", &node).await;
    until!(
        agent
            .status("service:side")
            .await
            .1
            .contains("is not there")
    );
    until!(agent.status("node").await.0 == "passing");
    let web = json!({"Name": "web", "ID": "web-1", "Check": {"TTL": "10m", "Status": "passing"}});
    agent.put("agent/service/register", &web).await;
    until!(agent.status("service:side").await.0 == "passing");
    agent
        .put("agent/check/fail/service:web-1", &Value::Null)
        .await;
    until!(agent.status("service:side").await.0 == "critical");
}

#[tokio::test]
async fn what_checks_found_survives_the_process() {
    let agent = Agent::new();
    let web = json!({"Name": "web", "Checks": [{"TTL": "10m"}, {"TTL": "10m"}]});
    agent.put("agent/service/register", &web).await;
    for id in ["1", "2"] {
        let path = format!("agent/check/pass/service:web:{id}");
        agent.put(&path, &Value::Null).await;
    }
    let disk = json!({"Name": "disk", "TTL": "10m"});
    agent.put("agent/check/register", &disk).await;
    agent.put("agent/check/pass/disk", &Value::Null).await;
    let handed = agent.world.registry.export().await.unwrap();
    let next = Agent::new();
    next.world.registry.adopt(handed).await.unwrap();
    assert_eq!(next.ids("web?passing").await, ["web"]);
    until!(next.status("service:web:2").await.0 == "passing");
    assert_eq!(next.status("disk").await.0, "passing");
    next.put("agent/check/fail/disk?note=full", &Value::Null)
        .await;
    let told = ("critical".to_owned(), "full".to_owned());
    assert_eq!(next.status("disk").await, told);
}

#[tokio::test]
async fn a_service_has_as_many_checks_as_the_limit_and_not_one_more() {
    let agent = Agent::new();
    agent
        .put("agent/service/register", &json!({"Name": "web"}))
        .await;
    let check = |n: usize| json!({"Name": n.to_string(), "TTL": "10m", "ServiceID": "web"});
    for n in 0..64 {
        agent.put("agent/check/register", &check(n)).await;
    }
    let (status, text) = agent
        .refused("PUT", "agent/check/register", &check(64).to_string())
        .await;
    assert!(
        status == 400 && text.contains("at most 64 checks"),
        "{text}"
    );
    let checks = agent.get("health/checks/web").await.body;
    assert_eq!(checks.as_array().unwrap().len(), 64);
}

#[tokio::test]
async fn its_root_says_that_it_is_there() {
    let agent = Agent::new();
    let check = json!({"Name": "itself", "HTTP": agent.url(), "Interval": "100ms"});
    agent.put("agent/check/register", &check).await;
    until!(agent.status("itself").await.0 == "passing");
}

#[tokio::test]
async fn the_agent_leaves_out_what_a_service_has_not() {
    let agent = Agent::new();
    agent
        .put("agent/service/register", &json!({"Name": "web"}))
        .await;
    let plain = json!({"web": {
        "ID": "web", "Service": "web", "Tags": [], "Meta": {}, "Port": 0, "Address": "",
        "Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": false, "Datacenter": "dc1",
    }});
    assert_eq!(agent.get("agent/services").await.body, plain);
    let web = json!({"Name": "web", "Connect": {"Native": true},
                     "TaggedAddresses": {"wan": {"Address": "192.0.2.1", "Port": 80}}});
    agent.put("agent/service/register", &web).await;
    let shown = agent.get("agent/service/web").await.body;
    assert_eq!(shown["Connect"], web["Connect"]);
    assert_eq!(shown["TaggedAddresses"], web["TaggedAddresses"]);
}
