//! The names of services: what is listed, to whom, and what wakes who waits for them.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

// The same world as the registry's own tests.
#[path = "../../registry/tests/common/mod.rs"]
mod common;

mod agent;

use agent::Agent;
use portolan_runtime::Env;
use serde_json::{Value, json};

fn service(name: &str, id: &str, port: u16, tags: &[&str]) -> Value {
    json!({"Name": name, "ID": id, "Port": port, "Tags": tags})
}

async fn register(agent: &Agent, service: &Value) {
    agent.put("agent/service/register", service).await;
}

#[tokio::test]
async fn names_are_listed_as_they_are_spelt_with_the_tags_of_all_instances() {
    let agent = Agent::new();
    register(&agent, &service("Web", "1", 80, &["a", "b"])).await;
    register(&agent, &service("web", "2", 80, &["b"])).await;
    register(&agent, &service("web", "3", 80, &["c"])).await;
    register(&agent, &service("web shop", "4", 80, &[])).await;
    register(&agent, &service("consul", "5", 80, &["mine"])).await;
    let listed = agent.get("catalog/services").await.body;
    let expected = json!({
        "Web": ["a", "b"], "web": ["b", "c"], "web shop": [], "consul": ["mine"]
    });
    assert_eq!(listed, expected);
}

/// A filter that lets everything through makes the list from every instance anew.
#[tokio::test]
async fn the_list_is_what_every_instance_would_say_however_they_come_and_go() {
    let agent = Agent::new();
    let mut dice = Env::system().dice();
    let mut one_of = |count: usize| usize::try_from(dice.u64() >> 32).unwrap() % count;
    for _ in 0..120 {
        let id = format!("i{}", one_of(12));
        if one_of(4) == 0 {
            let path = format!("agent/service/deregister/{id}");
            agent.call("PUT", &path, "").await;
        } else {
            let name = ["web", "Web", "shop", "shop two", "users"][one_of(5)];
            let tags = ["a", "b", "c"].map(|tag| (one_of(2) == 0).then_some(tag));
            let tags: Vec<_> = tags.into_iter().flatten().collect();
            register(&agent, &service(name, &id, 80, &tags)).await;
        }
        let mut listed = agent.get("catalog/services").await.body;
        assert_eq!(
            listed.as_object_mut().unwrap().remove("consul"),
            Some(json!([]))
        );
        let all = "catalog/services?filter=ServiceID%20!=%20nobody";
        assert_eq!(listed, agent.get(all).await.body);
    }
}

#[tokio::test]
async fn who_waits_for_names_is_woken_by_names_and_tags_and_nothing_else() {
    let agent = Agent::new();
    register(&agent, &service("web", "1", 80, &["a"])).await;
    let first = agent.get("catalog/services").await;
    register(&agent, &service("web", "1", 81, &["a"])).await;
    register(&agent, &service("web", "2", 80, &["a"])).await;
    let again = agent.get("catalog/services").await;
    assert_eq!((again.index(), &again.text), (first.index(), &first.text));
    let path = format!("catalog/services?index={}&wait=60s", first.index());
    let tagged = service("web", "2", 80, &["b"]);
    let changes = async {
        register(&agent, &service("web", "3", 80, &[])).await;
        register(&agent, &tagged).await;
    };
    let (woken, ()) = tokio::join!(agent.get(&path), changes);
    assert_eq!(woken.body["web"], json!(["a", "b"]));
    assert!(woken.index() > first.index());
    let path = format!("catalog/services?index={}&wait=60s", woken.index());
    let shop = service("shop", "4", 80, &[]);
    let (woken, ()) = tokio::join!(agent.get(&path), register(&agent, &shop));
    assert_eq!(woken.body["shop"], json!([]));
}

#[tokio::test]
async fn everybody_is_shown_the_names_that_he_may_read() {
    let agent = Agent::new();
    register(&agent, &service("web", "1", 80, &["a"])).await;
    register(&agent, &service("shop", "2", 80, &[])).await;
    let all = agent.get("catalog/services").await;
    assert_eq!(all.body, json!({"consul": [], "shop": [], "web": ["a"]}));
    agent.limit_to(r#"service "web" { policy = "read" }"#);
    let some = agent.get("catalog/services").await;
    assert_eq!(some.body, json!({"web": ["a"]}));
    agent.limit_to(r#"service_prefix "" { policy = "read" }"#);
    assert_eq!(agent.get("catalog/services").await.body, all.body);
}

#[tokio::test]
async fn another_right_shows_another_list_at_once() {
    let agent = Agent::new();
    register(&agent, &service("web", "1", 80, &["a"])).await;
    register(&agent, &service("shop", "2", 80, &[])).await;
    agent.limit_to(r#"service "web" { policy = "write" }"#);
    let before = agent.get("catalog/services").await;
    agent.limit_to(r#"service_prefix "" { policy = "write" }"#);
    // Something has changed since, though no name.
    register(&agent, &service("web", "1", 81, &["a"])).await;
    let path = format!("catalog/services?index={}&wait=60s", before.index());
    let after = agent.get(&path).await;
    assert_eq!(after.body["shop"], json!([]));
    assert!(after.index() > before.index());
}

/// Reads whose answers depend on who asks.
const READS: [&str; 6] = [
    "catalog/services?",
    "catalog/nodes?",
    "catalog/service/shop?",
    "health/service/shop?",
    "health/state/any?",
    "kv/?recurse&",
];
const LITTLE: &str = r#"service "web" { policy = "read" } key "a" { policy = "read" }"#;
const MUCH: &str = r#"
    service_prefix "" { policy = "read" }
    node_prefix "" { policy = "read" }
    key_prefix "" { policy = "read" }
"#;

async fn furnished() -> Agent {
    let agent = Agent::new();
    register(&agent, &service("web", "1", 80, &["a"])).await;
    register(&agent, &service("shop", "2", 80, &[])).await;
    for key in ["a", "b"] {
        agent.put(&format!("kv/{key}"), &json!(1)).await;
    }
    agent
}

#[tokio::test]
async fn another_right_is_a_change_though_nothing_else_is() {
    let agent = furnished().await;
    for read in READS {
        for (rights, others) in [(LITTLE, MUCH), (MUCH, LITTLE)] {
            agent.limit_to(rights);
            let before = agent.get(read).await;
            agent.limit_to(others);
            let path = format!("{read}index={}&wait=2s", before.index());
            let after = agent.get(&path).await;
            assert_ne!(after.text, before.text, "{read}");
            assert!(after.index() > before.index(), "{read}");
            // Who has seen that waits: each of these is the other's change.
            let path = format!("{read}index={}&wait=10ms", after.index());
            let again = agent.get(&path).await;
            assert_eq!((again.index(), again.text), (after.index(), after.text));
        }
    }
}

#[tokio::test]
async fn who_waits_is_sent_back_when_its_rights_change() {
    let agent = furnished().await;
    for read in READS {
        agent.limit_to(LITTLE);
        let before = agent.get(read).await;
        let path = format!("{read}index={}&wait=60s", before.index());
        let change = async {
            // Rights of others do not count.
            agent.access.follow(None);
            for _ in 0..20 {
                agent.get("status/leader").await;
            }
            agent.limit_to(MUCH);
        };
        let (told, ()) = tokio::join!(agent.get(&path), change);
        let path = format!("{read}index={}&wait=60s", told.index());
        let after = if told.text == before.text {
            agent.get(&path).await
        } else {
            told
        };
        assert_ne!(after.text, before.text, "{read}");
    }
}
