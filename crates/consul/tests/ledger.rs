//! Keys, sessions, transactions, prepared queries, snapshots, and what survives a restart.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

// The same world as the registry's own tests.
#[path = "../../registry/tests/common/mod.rs"]
mod common;

mod agent;

use std::time::Duration;

use agent::Agent;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

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

async fn set(agent: &Agent, path: &str, value: &str) -> bool {
    let answer = agent.call("PUT", &format!("kv/{path}"), value).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.body.as_bool().unwrap()
}

async fn session(agent: &Agent, body: &Value) -> String {
    let answer = agent.put("session/create", body).await;
    answer.body["ID"].as_str().unwrap().to_owned()
}

async fn destroyed(agent: &Agent, id: &str) {
    let path = format!("session/destroy/{id}");
    agent.put(&path, &Value::Null).await;
}

fn names(body: &Value) -> Vec<&str> {
    let list = body.as_array().unwrap().iter();
    list.map(|value| {
        value
            .as_str()
            .unwrap_or_else(|| value["Key"].as_str().unwrap())
    })
    .collect()
}

#[tokio::test]
async fn a_key_is_written_read_and_deleted() {
    let agent = Agent::new();
    let missing = agent.call("GET", "kv/a/b", "").await;
    assert_eq!((missing.status, &*missing.text), (404, ""));
    assert!(missing.index() >= 1);
    assert!(set(&agent, "a/b?flags=42", "value").await);
    let found = agent.get("kv/a/b").await;
    let entry = &found.body[0];
    assert_eq!(entry["Key"], "a/b");
    assert_eq!(
        (&entry["Value"], &entry["Flags"]),
        (&json!("dmFsdWU="), &json!(42))
    );
    assert_eq!(
        (&entry["LockIndex"], entry.get("Session")),
        (&json!(0), None)
    );
    assert_eq!(entry["ModifyIndex"], found.index());
    let raw = agent.get("kv/a/b?raw").await;
    assert_eq!(
        (&*raw.text, &*raw.headers["content-type"]),
        ("value", "text/plain")
    );
    assert_eq!(raw.headers["x-content-type-options"], "nosniff");
    assert!(set(&agent, "empty", "").await);
    assert_eq!(agent.get("kv/empty").await.body[0]["Value"], Value::Null);
    let gone = agent.call("DELETE", "kv/a/b", "").await;
    assert_eq!((gone.status, gone.body), (200, json!(true)));
    let missing = agent.call("GET", "kv/a/b", "").await;
    assert_eq!(missing.status, 404);
    assert!(missing.index() > found.index(), "a deletion is a change");
    let large = "x".repeat((512 << 10) + 1);
    assert!(set(&agent, "large", &large[1..]).await);
    assert_eq!(agent.refused("PUT", "kv/large", &large).await.0, 413);
    let long = format!("kv/{}", "k".repeat(2049));
    assert_eq!(agent.refused("PUT", &long, "").await.0, 400);
}

#[tokio::test]
async fn trees_are_listed_and_deleted() {
    let agent = Agent::new();
    for key in ["a/1", "a/2/x", "a/2/y", "b"] {
        assert!(set(&agent, key, "1").await);
    }
    let tree = agent.get("kv/a/?recurse").await;
    assert_eq!(names(&tree.body), ["a/1", "a/2/x", "a/2/y"]);
    assert_eq!(
        names(&agent.get("kv/a/?keys&separator=/").await.body),
        ["a/1", "a/2/"]
    );
    assert_eq!(
        names(&agent.get("kv/?keys&separator=/").await.body),
        ["a/", "b"]
    );
    assert_eq!(agent.call("GET", "kv/c?keys", "").await.status, 404);
    assert_eq!(agent.call("GET", "kv/c?recurse", "").await.status, 404);
    agent.call("DELETE", "kv/a/2?recurse", "").await;
    assert_eq!(names(&agent.get("kv/?keys").await.body), ["a/1", "b"]);
    assert_eq!(agent.call("DELETE", "kv/?recurse", "").await.status, 200);
    assert_eq!(agent.get("kv/?keys").await.text, "[]");
}

#[tokio::test]
async fn a_write_may_depend_on_the_index() {
    let agent = Agent::new();
    assert!(set(&agent, "a?cas=0", "1").await);
    assert!(!set(&agent, "a?cas=0", "2").await, "it is there");
    let index = agent.get("kv/a").await.body[0]["ModifyIndex"]
        .as_u64()
        .unwrap();
    assert!(index < 1 << 53);
    assert!(!set(&agent, &format!("a?cas={}", index - 1), "2").await);
    assert!(set(&agent, &format!("a?cas={index}"), "2").await);
    let stale = agent.call("DELETE", &format!("kv/a?cas={index}"), "").await;
    assert_eq!(stale.body, json!(false));
    let newest = agent.get("kv/a").await.index();
    let gone = agent
        .call("DELETE", &format!("kv/a?cas={newest}"), "")
        .await;
    assert_eq!(gone.body, json!(true));
}

#[tokio::test]
async fn a_blocking_read_wakes_by_its_own_key_or_prefix_only() {
    let agent = Agent::new();
    assert!(set(&agent, "a/1", "1").await);
    assert!(set(&agent, "b", "1").await);
    let key = agent.get("kv/a/1").await.index();
    let tree = agent.get("kv/a/?recurse").await.index();
    let missing = agent.call("GET", "kv/a/none", "").await.index();
    let (by_key, by_tree, by_name) = (
        format!("kv/a/1?index={key}&wait=60s"),
        format!("kv/a/?recurse&index={tree}&wait=60s&stale"),
        format!("kv/a/none?index={missing}&wait=60s"),
    );
    let change = async {
        assert!(set(&agent, "b", "2").await);
        let waited = agent.get(&format!("kv/a/1?index={key}&wait=1ms")).await;
        assert_eq!(waited.index(), key, "nothing happened to it");
        assert!(set(&agent, "a/none", "3").await);
        assert!(set(&agent, "a/1", "2").await);
    };
    let (key_found, tree_found, name_found, ()) = tokio::join!(
        agent.get(&by_key),
        agent.get(&by_tree),
        agent.get(&by_name),
        change
    );
    assert_eq!(key_found.body[0]["Value"], "Mg==");
    assert!(names(&tree_found.body).contains(&"a/none"));
    assert_eq!(
        tree_found.headers["x-consul-effective-consistency"],
        "stale"
    );
    assert_eq!(name_found.body[0]["Value"], "Mw==");
    let ahead = agent.get("kv/b?index=9007199254740991&wait=60s").await;
    assert_eq!(
        ahead.status, 200,
        "an index that we never had is answered at once"
    );
}

#[tokio::test]
async fn two_sessions_take_turns_with_a_lock() {
    let agent = Agent::new();
    let one = session(&agent, &json!({"Name": "one", "LockDelay": "0s"})).await;
    let two = session(&agent, &json!({"Name": "two", "TTL": "10s"})).await;
    assert!(set(&agent, &format!("lock?acquire={one}"), "one").await);
    assert!(!set(&agent, &format!("lock?acquire={two}"), "two").await);
    let held = agent.get("kv/lock").await;
    assert_eq!(
        (&held.body[0]["Session"], &held.body[0]["LockIndex"]),
        (&json!(one), &json!(1))
    );
    assert!(!set(&agent, &format!("lock?release={two}"), "").await);
    let waiting = format!("kv/lock?index={}&wait=60s", held.index());
    let (freed, ()) = tokio::join!(agent.get(&waiting), destroyed(&agent, &one));
    assert_eq!(freed.body[0].get("Session"), None);
    assert!(set(&agent, &format!("lock?acquire={two}"), "two").await);
    destroyed(&agent, &two).await;
    let three = session(&agent, &json!({"Behavior": "delete"})).await;
    assert!(
        !set(&agent, &format!("lock?acquire={three}"), "").await,
        "the lock is delayed by 15 s"
    );
    assert!(set(&agent, &format!("own?acquire={three}"), "").await);
    destroyed(&agent, &three).await;
    assert_eq!(
        agent.call("GET", "kv/own", "").await.status,
        404,
        "it went with its session"
    );
}

#[tokio::test]
async fn sessions_are_shown_as_clients_know_them() {
    let agent = Agent::new();
    let body = json!({"Name": "s", "TTL": "10s", "LockDelay": "5s", "Behavior": "delete"});
    let id = session(&agent, &body).await;
    let shown = agent.get(&format!("session/info/{id}")).await.body[0].clone();
    assert_eq!(shown["LockDelay"], 5_000_000_000_u64);
    assert_eq!(
        (&shown["TTL"], &shown["Behavior"]),
        (&json!("10s"), &json!("delete"))
    );
    assert_eq!(
        (&shown["Node"], &shown["NodeChecks"]),
        (&json!("here"), &json!(["serfHealth"]))
    );
    assert_eq!(agent.get("session/list").await.body[0], shown);
    assert_eq!(agent.get("session/node/here").await.body[0], shown);
    assert_eq!(agent.get("session/node/there").await.text, "[]");
    assert_eq!(agent.get("session/info/none").await.text, "[]");
    let renewed = agent
        .put(&format!("session/renew/{id}"), &Value::Null)
        .await;
    assert_eq!(renewed.body[0], shown);
    let listed = agent.get("session/list").await;
    let path = format!("session/list?index={}&wait=60s", listed.index());
    let (next, ()) = tokio::join!(agent.get(&path), destroyed(&agent, &id));
    assert_eq!(next.text, "[]");
    let again = agent
        .put(&format!("session/destroy/{id}"), &Value::Null)
        .await;
    assert_eq!(again.body, json!(true));
}

#[tokio::test]
async fn a_session_ends_with_a_check_that_it_names() {
    let agent = Agent::new();
    let web = json!({"Name": "web", "Check": {"TTL": "10m", "Status": "passing"}});
    agent.put("agent/service/register", &web).await;
    let disk = json!({"Name": "disk", "TTL": "10m", "Status": "passing"});
    agent.put("agent/check/register", &disk).await;
    let body = json!({"NodeChecks": ["serfHealth", "disk"], "ServiceChecks": [{"ID": "service:web"}],
                      "LockDelay": 0});
    let first = session(&agent, &body).await;
    assert!(set(&agent, &format!("lock?acquire={first}"), "").await);
    agent
        .put("agent/check/warn/service:web", &Value::Null)
        .await;
    assert_eq!(
        agent
            .get("session/list")
            .await
            .body
            .as_array()
            .unwrap()
            .len(),
        1
    );
    agent
        .put("agent/check/fail/service:web", &Value::Null)
        .await;
    until!(agent.get("session/list").await.text == "[]");
    assert_eq!(agent.get("kv/lock").await.body[0].get("Session"), None);
    let refused = agent
        .refused("PUT", "session/create", &body.to_string())
        .await;
    assert_eq!(
        refused,
        (500, "Check 'service:web' is in critical state".to_owned())
    );

    agent
        .put("agent/check/pass/service:web", &Value::Null)
        .await;
    session(&agent, &body).await;
    agent.put("agent/check/deregister/disk", &Value::Null).await;
    until!(agent.get("session/list").await.text == "[]");

    let far = json!({"Node": "far", "Address": "10.0.0.1"});
    agent.put("catalog/register", &far).await;
    session(&agent, &json!({"Node": "far", "Checks": []})).await;
    agent.put("catalog/deregister", &far).await;
    until!(agent.get("session/list").await.text == "[]");
}

#[tokio::test]
async fn a_transaction_is_applied_whole_or_not_at_all() {
    let agent = Agent::new();
    let id = session(&agent, &json!({})).await;
    let good = json!([
        {"KV": {"Verb": "set", "Key": "a", "Value": "MQ==", "Flags": 7}},
        {"KV": {"Verb": "get", "Key": "a"}},
        {"KV": {"Verb": "lock", "Key": "lock", "Value": "MQ==", "Session": id}},
        {"KV": {"Verb": "check-session", "Key": "lock", "Session": id}},
        {"KV": {"Verb": "get-or-empty", "Key": "none"}},
        {"KV": {"Verb": "check-not-exists", "Key": "none"}},
    ]);
    let applied = agent.put("txn", &good).await;
    assert_eq!(applied.body["Errors"], Value::Null);
    let results = applied.body["Results"].as_array().unwrap();
    assert_eq!(results.len(), 5);
    assert_eq!(
        (&results[0]["KV"]["Value"], &results[0]["KV"]["Flags"]),
        (&Value::Null, &json!(7))
    );
    assert_eq!(results[1]["KV"]["Value"], "MQ==");
    assert_eq!(results[2]["KV"]["Session"], json!(id));
    let bad = json!([
        {"KV": {"Verb": "set", "Key": "b", "Value": "MQ=="}},
        {"KV": {"Verb": "cas", "Key": "a", "Value": "Mg==", "Index": 1}},
        {"KV": {"Verb": "get", "Key": "none"}},
        {"KV": {"Verb": "delete-cas", "Key": "a", "Index": 1}},
    ]);
    let failed = agent.call("PUT", "txn", &bad.to_string()).await;
    assert_eq!(
        (failed.status, &failed.body["Results"]),
        (409, &Value::Null)
    );
    assert_eq!(
        failed.body["Errors"],
        json!([
            {"OpIndex": 1, "What": "failed to set key \"a\", index is stale"},
            {"OpIndex": 2, "What": "key \"none\" doesn't exist"},
            {"OpIndex": 3, "What": "failed to delete key \"a\", index is stale"},
        ])
    );
    assert_eq!(
        agent.call("GET", "kv/b", "").await.status,
        404,
        "nothing of it was applied"
    );
    let many = json!(vec![
        json!({"KV": {"Verb": "check-not-exists", "Key": "x"}});
        129
    ]);
    assert_eq!(agent.refused("PUT", "txn", &many.to_string()).await.0, 413);
    assert_eq!(
        agent.put("txn", &json!([])).await.body["Results"],
        json!([])
    );
}

#[tokio::test]
async fn a_transaction_that_reads_too_much_is_refused_and_taken_back() {
    let agent = Agent::new();
    assert!(set(&agent, "tree/a", &"x".repeat(300_000)).await);
    let read = |count: usize| {
        let mut verbs = vec![json!({"KV": {"Verb": "set", "Key": "b", "Value": "MQ=="}})];
        verbs.extend(vec![
            json!({"KV": {"Verb": "get-tree", "Key": "tree/"}});
            count
        ]);
        json!(verbs)
    };
    let (status, text) = agent.refused("PUT", "txn", &read(14).to_string()).await;
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("over the limit of 4194304"), "{text}");
    assert_eq!(agent.call("GET", "kv/b", "").await.status, 404);
    let applied = agent.put("txn", &read(13)).await;
    assert_eq!(applied.body["Results"].as_array().unwrap().len(), 14);
}

#[tokio::test]
async fn a_transaction_may_be_about_the_catalogue() {
    let agent = Agent::new();
    let made = agent
        .put(
            "txn",
            &json!([
                {"Node": {"Verb": "set", "Node": {"Node": "n1", "Address": "10.0.0.1"}}},
                {"Service": {"Verb": "set", "Node": "n1", "Service": {"ID": "w1", "Service": "web", "Port": 80}}},
                {"Check": {"Verb": "set", "Check": {"Node": "n1", "CheckID": "c1", "Name": "c", "ServiceID": "w1",
                           "Status": "passing", "Output": "fine"}}},
            ]),
        )
        .await;
    let results = &made.body["Results"];
    assert_eq!(results[0]["Node"]["Address"], "10.0.0.1");
    assert_eq!(results[1]["Service"]["ID"], "w1");
    assert_eq!(results[2]["Check"]["Output"], "fine");
    assert_eq!(agent.ids("web?passing").await, ["w1"]);
    let index = results[2]["Check"]["ModifyIndex"].as_u64().unwrap();
    let check = |index: u64| {
        json!([{"Check": {"Verb": "cas", "Check": {"Node": "n1", "CheckID": "c1", "Name": "c", "ServiceID": "w1",
                "Status": "critical", "Output": "down", "ModifyIndex": index}}}])
    };
    let stale = agent
        .call("PUT", "txn", &check(index - 1).to_string())
        .await;
    assert_eq!(stale.status, 409, "{}", stale.text);
    assert!(stale.text.contains("index is stale"), "{}", stale.text);
    agent.put("txn", &check(index)).await;
    assert!(agent.ids("web?passing").await.is_empty());
    let unknown = json!([{"Service": {"Verb": "set", "Node": "n9", "Service": {"Service": "web"}}},
                         {"Node": {"Verb": "get", "Node": {"Node": "n9"}}}]);
    let failed = agent.call("PUT", "txn", &unknown.to_string()).await;
    assert_eq!(failed.status, 409);
    assert_eq!(
        failed.body["Errors"][0]["What"],
        "Missing node registration"
    );
    assert_eq!(
        failed.body["Errors"][1]["What"],
        "node \"n9\" doesn't exist"
    );
    let mixed = json!([{"KV": {"Verb": "get", "Key": "a"}}, {"Node": {"Verb": "get", "Node": {"Node": "n1"}}}]);
    assert_eq!(agent.refused("PUT", "txn", &mixed.to_string()).await.0, 400);
    agent
        .put(
            "txn",
            &json!([{"Node": {"Verb": "delete", "Node": {"Node": "n1"}}}]),
        )
        .await;
    assert!(agent.ids("web").await.is_empty());
    let own = json!([{"Node": {"Verb": "delete", "Node": {"Node": "here"}}}]);
    assert_eq!(agent.refused("PUT", "txn", &own.to_string()).await.0, 409);
}

async fn query(agent: &Agent, body: &Value) -> String {
    let answer = agent.call("POST", "query", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body["ID"].as_str().unwrap().to_owned()
}

fn found(body: &Value) -> Vec<&str> {
    let nodes = body["Nodes"].as_array().unwrap().iter();
    let mut ids: Vec<_> = nodes
        .map(|node| node["Service"]["ID"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    ids
}

/// Three instances here, of which one warns and one is critical, and one on a node elsewhere.
async fn with_instances() -> Agent {
    let agent = Agent::new();
    for (id, tag, status) in [
        ("a", "blue", "passing"),
        ("b", "blue", "warning"),
        ("c", "red", "critical"),
    ] {
        let web = json!({"Name": "web", "ID": id, "Port": 80, "Tags": [tag], "Meta": {"t": tag},
                         "Check": {"TTL": "10m", "Status": status}});
        agent.put("agent/service/register", &web).await;
    }
    let node = json!({"Node": "n1", "Address": "10.0.0.1", "NodeMeta": {"dc": "x"},
                      "Service": {"ID": "far", "Service": "web", "Tags": ["blue"]}});
    agent.put("catalog/register", &node).await;
    agent
}

#[tokio::test]
async fn a_prepared_query_is_kept_and_executed() {
    let agent = with_instances().await;
    let id = query(&agent, &json!({"Name": "Web", "Service": {"Service": "web", "Tags": ["blue", "!red"],
        "Near": "_agent", "Failover": {"NearestN": 2, "Datacenters": ["dc2"]}}, "DNS": {"TTL": "10s"}})).await;
    let read = agent.get(&format!("query/{id}")).await;
    assert_eq!(
        read.body[0]["Service"]["Failover"]["Datacenters"],
        json!(["dc2"])
    );
    assert_eq!(agent.get("query").await.body, read.body);
    let answer = agent.get("query/web/execute").await.body;
    assert_eq!(found(&answer), ["a", "b", "far"]);
    assert_eq!(
        (&answer["Service"], &answer["Datacenter"]),
        (&json!("web"), &json!("dc1"))
    );
    assert_eq!(
        (&answer["DNS"]["TTL"], &answer["Failovers"]),
        (&json!("10s"), &json!(0))
    );
    let limited = agent.get(&format!("query/{id}/execute?limit=2")).await.body;
    assert_eq!(
        found(&limited),
        ["a", "b"],
        "the agent's own node is nearest"
    );
    let near = agent
        .get(&format!("query/{id}/execute?limit=1&near=n1"))
        .await
        .body;
    assert_eq!(found(&near), ["far"]);
}

#[tokio::test]
async fn a_prepared_query_chooses_and_is_changed() {
    let agent = with_instances().await;
    let body = json!({"Name": "web", "Service": {"Service": "web"}});
    let id = query(&agent, &body).await;
    let strict = json!({"Name": "web", "Service": {"Service": "web", "OnlyPassing": true,
                        "ServiceMeta": {"t": "blue"}}});
    agent.put(&format!("query/{id}"), &strict).await;
    assert_eq!(found(&agent.get("query/web/execute").await.body), ["a"]);
    let ignoring = json!({"Name": "web", "Service": {"Service": "web", "NodeMeta": {},
                          "IgnoreCheckIDs": ["service:c"], "Tags": ["red"]}});
    agent.put(&format!("query/{id}"), &ignoring).await;
    assert_eq!(found(&agent.get("query/web/execute").await.body), ["c"]);
    let elsewhere = json!({"Name": "web", "Service": {"Service": "web", "NodeMeta": {"dc": "x"}}});
    agent.put(&format!("query/{id}"), &elsewhere).await;
    assert_eq!(found(&agent.get("query/web/execute").await.body), ["far"]);

    let (status, text) = agent.refused("POST", "query", &strict.to_string()).await;
    assert_eq!(
        (status, &*text),
        (500, "name 'web' aliases an existing query name")
    );
    assert_eq!(
        agent
            .call("DELETE", &format!("query/{id}"), "")
            .await
            .status,
        200
    );
    assert_eq!(agent.get("query").await.text, "[]");
    let (status, text) = agent
        .refused("PUT", &format!("query/{id}"), &strict.to_string())
        .await;
    assert_eq!(status, 500);
    assert!(
        text.starts_with("Cannot modify non-existent prepared query"),
        "{text}"
    );
}

#[tokio::test]
async fn a_template_stands_for_many_names() {
    let agent = Agent::new();
    agent
        .put(
            "agent/service/register",
            &json!({"Name": "web", "Port": 80, "Tags": ["eu"]}),
        )
        .await;
    let template = |name: &str, service: &str| {
        json!({"Name": name, "Template": {"Type": "name_prefix_match", "Regexp": "^geo-(.*)-([a-z]+)$",
               "RemoveEmptyTags": true}, "Service": {"Service": service, "Tags": ["${match(2)}"]}})
    };
    query(&agent, &template("", "other")).await;
    let id = query(&agent, &template("geo-", "${match(1)}")).await;
    let explained = agent.get("query/geo-web-eu/explain").await.body;
    assert_eq!(explained["Query"]["Service"]["Service"], "web");
    assert_eq!(explained["Query"]["Service"]["Tags"], json!(["eu"]));
    assert_eq!(
        found(&agent.get("query/geo-web-eu/execute").await.body),
        ["web"]
    );
    assert_eq!(
        found(&agent.get("query/geo-web-us/execute").await.body),
        [""; 0]
    );
    let catch_all = agent.get("query/anything/explain").await.body;
    assert_eq!(catch_all["Query"]["Service"]["Service"], "other");
    let (status, text) = agent
        .refused("GET", &format!("query/{id}/execute"), "")
        .await;
    assert_eq!(status, 500);
    assert!(text.contains("by name, not by ID"), "{text}");
    let (status, text) = agent
        .refused("POST", "query", &template("", "x").to_string())
        .await;
    assert_eq!(
        (status, &*text),
        (500, "a query template with an empty name already exists")
    );
    let broken = template("b", "${nothing}").to_string();
    assert!(
        agent
            .refused("POST", "query", &broken)
            .await
            .1
            .contains("Bad format")
    );
}

#[tokio::test]
async fn a_query_of_a_session_ends_with_it() {
    let agent = Agent::new();
    let id = session(&agent, &json!({})).await;
    let body = json!({"Session": id, "Service": {"Service": "web"}});
    query(&agent, &body).await;
    let listed = agent.get("query").await;
    let path = format!("query?index={}&wait=60s", listed.index());
    let (next, ()) = tokio::join!(agent.get(&path), destroyed(&agent, &id));
    assert_eq!(next.text, "[]");
    let (status, text) = agent.refused("POST", "query", &body.to_string()).await;
    assert_eq!(status, 500);
    assert!(text.starts_with("invalid session"), "{text}");
}

#[tokio::test]
async fn what_the_ledger_holds_is_there_after_a_restart() {
    let agent = Agent::new();
    assert!(set(&agent, "a", "1").await);
    let id = session(&agent, &json!({"TTL": "1h"})).await;
    assert!(set(&agent, &format!("lock?acquire={id}"), "").await);
    let saved = query(&agent, &json!({"Name": "q", "Service": {"Service": "web"}})).await;
    agent.call("PUT", "event/fire/deploy", "now").await;
    let node = json!({"Node": "n1", "Address": "10.0.0.1", "NodeMeta": {"k": "v"},
                      "Check": {"Name": "alive", "CheckID": "alive", "Status": "passing"}});
    agent.put("catalog/register", &node).await;
    agent
        .put(
            "catalog/register",
            &json!({"Node": "n2", "Address": "10.0.0.2"}),
        )
        .await;
    agent
        .put("catalog/deregister", &json!({"Node": "n2"}))
        .await;
    let events = agent.get("event/list").await;
    let index = agent.get("kv/a").await.index();

    let agent = agent.restarted().await;
    assert_eq!(agent.get("kv/a").await.index(), index);
    assert_eq!(agent.get("kv/lock").await.body[0]["Session"], json!(id));
    assert_eq!(agent.get("session/list").await.body[0]["ID"], json!(id));
    assert_eq!(agent.get("query").await.body[0]["ID"], json!(saved));
    assert_eq!(agent.get("event/list").await.body, events.body);
    until!(
        agent
            .get("catalog/nodes")
            .await
            .body
            .as_array()
            .unwrap()
            .len()
            == 2
    );
    let nodes = agent.get("catalog/nodes?node-meta=k:v").await;
    assert_eq!(nodes.body[0]["Node"], "n1");
    let checks = agent.get("health/node/n1").await.body;
    assert_eq!(
        (&checks[0]["CheckID"], &checks[0]["Status"]),
        (&json!("alive"), &json!("passing"))
    );
    let (status, _) = agent.refused("PUT", "kv/late", "x").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_snapshot_is_restored_whole() {
    let agent = Agent::new();
    assert!(set(&agent, "a", "1").await);
    agent
        .put(
            "catalog/register",
            &json!({"Node": "n1", "Address": "10.0.0.1"}),
        )
        .await;
    let saved = agent.bytes("GET", "snapshot", b"").await.1;
    assert!(set(&agent, "a", "2").await);
    assert!(set(&agent, "b", "2").await);
    agent
        .put("catalog/deregister", &json!({"Node": "n1"}))
        .await;
    let before = agent.get("kv/a").await.index();
    let waiting = format!("kv/a?index={before}&wait=60s");
    let restore = async {
        let mut broken = saved.clone();
        broken.pop();
        assert_eq!(agent.bytes("PUT", "snapshot", &broken).await.0, 400);
        assert_eq!(agent.bytes("PUT", "snapshot", &saved).await.0, 200);
    };
    let (woken, ()) = tokio::join!(agent.get(&waiting), restore);
    assert_eq!(woken.body[0]["Value"], "MQ==");
    assert!(woken.index() > before);
    assert_eq!(agent.call("GET", "kv/b", "").await.status, 404);
    assert_eq!(
        agent
            .get("catalog/nodes")
            .await
            .body
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let agent = agent.restarted().await;
    assert_eq!(agent.get("kv/a?raw").await.text, "1");
    assert_eq!(agent.call("GET", "kv/b", "").await.status, 404);
}

#[tokio::test]
async fn a_ledger_whose_store_is_closed_is_told_clearly() {
    let agent = Agent::new();
    assert!(set(&agent, "a", "1").await);
    agent.store.close().await;
    for method in ["PUT", "GET"] {
        let answer = agent.call(method, "kv/a", "2").await;
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert!(
            answer.text.contains("the store is closed"),
            "{}",
            answer.text
        );
    }
}

/// Method, path, body, and what is answered.
const REFUSED: &[(&str, &str, &str, u16, &str)] = &[
    ("GET", "kv/", "", 400, "Missing key name"),
    ("POST", "kv/a", "", 405, "method POST not allowed"),
    ("PUT", "kv/a?cas=x", "", 400, "Invalid cas value"),
    ("PUT", "kv/a?cas=1&acquire=x", "", 400, "Conflicting flags"),
    ("DELETE", "kv/a?recurse&cas=1", "", 400, "Conflicting flags"),
    ("PUT", "kv/a?acquire=nobody", "", 500, "invalid session"),
    (
        "PUT",
        "session/create",
        r#"{"Node": "x"}"#,
        500,
        "Missing node registration",
    ),
    (
        "PUT",
        "session/create",
        r#"{"Checks": ["x"]}"#,
        500,
        "Missing check 'x' registration",
    ),
    (
        "PUT",
        "session/renew/x",
        "",
        404,
        "Session id 'x' not found",
    ),
    ("PUT", "txn", "{}", 400, "Request decode failed"),
    ("GET", "query/x", "", 404, "Query not found"),
    ("POST", "query/x", "", 405, "method POST not allowed"),
    ("PUT", "query/x/execute", "", 405, "method PUT not allowed"),
    (
        "POST",
        "query",
        r#"{"Service": {"Service": "a"}}"#,
        500,
        "Must be bound to a session",
    ),
    (
        "PUT",
        "snapshot",
        "nonsense",
        400,
        "no snapshot of Portolan",
    ),
];

#[tokio::test]
async fn refusals_are_plain_texts() {
    let agent = Agent::new();
    for (method, path, body, status, text) in REFUSED {
        let answer = agent.call(method, path, body).await;
        assert_eq!(answer.status, *status, "{path}: {}", answer.text);
        assert!(answer.text.contains(text), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn one_snapshot_at_a_time_is_under_way() {
    let agent = Agent::new();
    let mut held = agent.begin("PUT", "snapshot", 100).await;
    until!(agent.call("GET", "snapshot", "").await.status == 503);
    held.shutdown().await.unwrap();
    drop(held);
    until!(agent.bytes("GET", "snapshot", b"").await.0 == 200);
}

#[tokio::test]
async fn a_transaction_is_permitted_operation_by_operation() {
    let agent = Agent::new();
    agent.limit_to(
        r#"key_prefix "own/" { policy = "write" } key "other" { policy = "read" }
           service "web" { policy = "write" } node_prefix "" { policy = "read" }"#,
    );
    assert!(set(&agent, "own/a", "1").await);
    let own = json!([{"KV": {"Verb": "set", "Key": "own/b", "Value": "MQ=="}},
                     {"KV": {"Verb": "get-or-empty", "Key": "other"}}]);
    agent.put("txn", &own).await;
    let operations = json!([
        {"KV": {"Verb": "set", "Key": "own/c", "Value": "MQ=="}},
        {"KV": {"Verb": "set", "Key": "other", "Value": "MQ=="}},
        {"KV": {"Verb": "get", "Key": "secret"}},
        {"KV": {"Verb": "delete-tree", "Key": ""}},
    ]);
    let denied = agent.call("PUT", "txn", &operations.to_string()).await;
    assert_eq!(denied.status, 409);
    let errors = denied.body["Errors"].as_array().unwrap();
    let indexes: Vec<_> = errors
        .iter()
        .map(|error| error["OpIndex"].as_u64().unwrap())
        .collect();
    assert_eq!(indexes, [1, 2, 3]);
    assert!(
        denied.text.contains("lacks permission 'key:write' on"),
        "{}",
        denied.text
    );
    assert_eq!(agent.call("GET", "kv/own/c", "").await.status, 404);
    let service = |name: &str| json!([{"Service": {"Verb": "set", "Node": "here", "Service": {"Service": name, "Port": 80}}}]);
    agent.put("txn", &service("web")).await;
    let shop = service("shop").to_string();
    assert_eq!(agent.refused("PUT", "txn", &shop).await.0, 409);
    let node = json!([{"Node": {"Verb": "set", "Node": {"Node": "n", "Address": "10.0.0.1"}}}]);
    let denied = agent.refused("PUT", "txn", &node.to_string()).await;
    assert!(denied.1.contains("'node:write'"), "{}", denied.1);
}

#[tokio::test]
async fn a_prepared_query_is_permitted_by_its_name() {
    let agent = with_instances().await;
    let saved = query(
        &agent,
        &json!({"Name": "secret", "Service": {"Service": "web"}}),
    )
    .await;
    agent.limit_to(
        r#"query_prefix "own" { policy = "write" } service "shop" { policy = "read" }
           node_prefix "" { policy = "read" }"#,
    );
    let body = |name: &str| json!({"Name": name, "Service": {"Service": "web"}}).to_string();
    let own = query(
        &agent,
        &json!({"Name": "own", "Service": {"Service": "web"}}),
    )
    .await;
    assert_eq!(agent.get("query").await.body.as_array().unwrap().len(), 1);
    let cases = [
        ("GET", format!("query/{saved}"), String::new()),
        ("GET", "query/secret/explain".to_owned(), String::new()),
        ("PUT", format!("query/{saved}"), body("own2")),
        ("PUT", format!("query/{own}"), body("secret")),
        ("POST", "query".to_owned(), body("other")),
        ("DELETE", format!("query/{saved}"), String::new()),
    ];
    for (method, path, body) in cases {
        assert_eq!(
            agent.refused(method, &path, &body).await.0,
            403,
            "{method} {path}"
        );
    }
    let executed = agent.get("query/own/execute").await.body;
    assert_eq!(
        found(&executed),
        [""; 0],
        "services that may not be read are left out"
    );
    assert_eq!(
        agent
            .call("DELETE", &format!("query/{own}"), "")
            .await
            .status,
        200
    );
}
