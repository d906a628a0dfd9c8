//! Claims about the `consul` source.

mod crowd;
mod fake;
mod mapping;
mod partial;
mod rolling;

use portolan_model::{Health, NodeId, Override};
use serde_json::json;

use self::fake::{Fake, entry};
use super::{KIND, settings};
use crate::testing::{World, instances, node};

#[tokio::test]
async fn everything_is_said_and_then_what_changes() {
    let fake = Fake::new();
    fake.put("orders", &[entry("orders", "a")]);
    fake.put("users", &[entry("users", "u")]);
    let server = fake.start();
    let mut world = World::of(&KIND, &json!({"url": server.url, "token": "hush"}));
    world.until("reset a@n1 u@n1").await;
    assert_eq!(fake.token().as_deref(), Some("hush"));
    fake.put("orders", &[entry("orders", "a"), entry("orders", "b")]);
    world.until("put b@n1").await;
    fake.put("orders", &[entry("orders", "b")]);
    world.until("gone a@n1").await;
    fake.put("more", &[entry("more", "m")]);
    world.until("put m@n1").await;
    fake.remove("users");
    world.until("reset b@n1 m@n1").await;
    assert_eq!(world.besides(), [""; 0]);
}

#[tokio::test]
async fn an_index_that_went_back_begins_anew() {
    let fake = Fake::new();
    fake.put("orders", &[entry("orders", "a")]);
    let server = fake.start();
    let mut world = World::of(&KIND, &json!({"url": server.url}));
    world.until("reset a@n1").await;
    fake.restart();
    fake.put("orders", &[entry("orders", "b")]);
    world.until("put b@n1").await;
    world.until("gone a@n1").await;
}

#[tokio::test]
async fn an_outage_keeps_what_was_known_and_says_why() {
    let fake = Fake::new();
    fake.put("orders", &[entry("orders", "a")]);
    let server = fake.start();
    let mut world = World::of(&KIND, &json!({"url": server.url}));
    world.until("reset a@n1").await;
    fake.refuse("dc1", Some((403, "Permission denied: ACL not found")));
    world
        .until("stale 403 Forbidden (may this token read that?): Permission")
        .await;
    fake.refuse("dc1", None);
    world.until("reset a@n1").await;
}

#[tokio::test]
async fn a_token_without_rights_is_told_apart_from_an_empty_registry() {
    let fake = Fake::new();
    fake.hide_all();
    let server = fake.start();
    let mut world = World::of(&KIND, &json!({"url": server.url}));
    world
        .until("stale it needs `service:read` and `node:read`")
        .await;
}

#[tokio::test]
async fn many_services_are_followed_by_few_connections() {
    let fake = Fake::new();
    for number in 0..300 {
        let name = format!("s{number}");
        fake.put(&name, &[entry(&name, &name)]);
    }
    // Nothing but the index of all services tells when this one changes.
    fake.put("silent", &[fake::without_checks("silent", "x")]);
    let server = fake.start();
    let settings = json!({"url": server.url, "connections": 4});
    let mut world = World::of(&KIND, &settings);
    let all = loop {
        if let Some(all) = world.next_reset().await {
            break all;
        }
    };
    assert_eq!(all.len(), 301);
    fake.waits_for(4 + 2).await;
    let fetched = fake.fetches();
    fake.put("s7", &[entry("s7", "s7"), entry("s7", "new")]);
    world.until("put new@n1").await;
    let more = fake.fetches() - fetched;
    assert!(
        more <= 3,
        "{more} services were fetched for one that changed"
    );
    fake.put("silent", &[fake::without_checks("silent", "y")]);
    world.until("put y@n1").await;
    fake.put("added", &[entry("added", "added")]);
    world.until("put added@n1").await;
    fake.fail_node("n1");
    world.until("put s299@n1").await;
    let most = fake.most_waiting();
    assert!(most <= 4 + 8 + 3, "{most} questions at a time");
}

#[tokio::test]
async fn when_few_are_left_each_is_followed_by_itself() {
    let fake = Fake::new();
    for number in 0..70 {
        let name = format!("s{number}");
        fake.put(&name, &[entry(&name, &name)]);
    }
    let server = fake.start();
    let settings = json!({"url": server.url, "connections": 50});
    let mut world = World::of(&KIND, &settings);
    assert_eq!(world.next_reset().await.unwrap().len(), 70);
    fake.waits_for(50 + 2).await;
    for number in 3..70 {
        fake.remove(&format!("s{number}"));
    }
    world.until("reset s0@n1 s1@n1 s2@n1").await;
    // The names, and each of the three.
    fake.waits_for(4).await;
    fake.put("s1", &[entry("s1", "s1"), entry("s1", "new")]);
    world.until("put new@n1").await;
}

#[tokio::test]
async fn a_datacenter_that_is_lost_does_not_take_the_other_down() {
    let fake = Fake::new();
    fake.put("orders", &[entry("orders", "a")]);
    let server = fake.start();
    let settings = json!({"url": server.url, "datacenters": ["dc1", "dc2"]});
    let mut world = World::of(&KIND, &settings);
    let all = instances(world.until("reset a@n1.dc1 a@n1.dc2").await);
    assert_eq!(all[0].metadata["dc"], "dc1".into());
    fake.refuse("dc2", Some((500, "No path to datacenter")));
    world.until("stale datacenter dc2").await;
    fake.put("orders", &[entry("orders", "a"), entry("orders", "b")]);
    world.until("reset a@n1.dc1 a@n1.dc2 b@n1.dc1").await;
    world.until("stale datacenter dc2").await;
    fake.refuse("dc2", None);
    world
        .until("reset a@n1.dc1 a@n1.dc2 b@n1.dc1 b@n1.dc2")
        .await;
    let words = world.besides();
    assert!(
        words.iter().all(|word| !word.starts_with("gone")),
        "{words:?}"
    );
}

#[tokio::test]
async fn a_prepared_query_is_a_service_of_its_name() {
    let fake = Fake::new();
    fake.put("orders", &[entry("orders", "a")]);
    fake.query("near-orders", &[entry("orders", "far")]);
    let server = fake.start();
    let settings = json!({
        "url": server.url, "services": ["orders"],
        "queries": ["near-orders", "nobody"], "query_interval": "100ms",
    });
    let mut world = World::of(&KIND, &settings);
    let found = instances(world.until("put far@n1").await);
    assert_eq!(found[0].key.to_string(), "near-orders");
    world.until("stale prepared query `nobody`").await;
    fake.query("near-orders", &[entry("orders", "farther")]);
    world.until("put farther@n1").await;
    world.until("gone far@n1").await;
}

#[tokio::test]
async fn what_it_was_told_by_us_is_not_taken_back() {
    let fake = Fake::new();
    let mut ours = entry("orders", "ours");
    ours["Service"]["Meta"][NodeId::ORIGIN] = json!(node(1));
    fake.put("orders", &[ours, entry("orders", "a")]);
    fake.sign(2);
    let server = fake.start();
    let mut world = World::of(&KIND, &json!({"url": server.url}));
    let all = instances(world.until("reset a").await);
    assert_eq!(all[0].metadata[NodeId::ORIGIN], node(2).as_str().into());
    fake.sign(1);
    fake.put("orders", &[entry("orders", "b")]);
    world.until("stale this Portolan itself").await;
    assert!(!world.besides().contains(&"put b".to_owned()));
}

#[tokio::test]
async fn what_is_failing_or_out_is_told_so() {
    let fake = Fake::new();
    let mut failing = entry("orders", "failing");
    failing["Checks"][1]["Status"] = json!("critical");
    failing["Checks"][1]["Output"] = json!("connection refused");
    let mut out = entry("orders", "out");
    let maintenance = json!({"CheckID": "_service_maintenance:out", "Status": "critical"});
    out["Checks"].as_array_mut().unwrap().push(maintenance);
    fake.put("orders", &[failing, out]);
    let server = fake.start();
    let mut world = World::of(&KIND, &json!({"url": server.url}));
    let all = instances(world.until("reset failing@n1 out@n1").await);
    assert_eq!(all[0].state.health, Health::Critical);
    assert_eq!(all[0].state.note.as_deref(), Some("connection refused"));
    assert_eq!(all[1].state.health, Health::Passing);
    assert_eq!(all[1].state.overridden, Override::Maintenance);
}

#[test]
fn settings_say_what_is_wrong_with_them() {
    let settings = json!({
        "urls": ["127.0.0.1:8500"], "wait": "1h", "datacenters": "dc1",
        "services": ["a", "a", ""], "connections": 8193,
    });
    let problems = (KIND.parse)(&settings).unwrap_err();
    let mut paths: Vec<_> = problems.iter().map(|problem| &*problem.path).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "/connections",
            "/datacenters",
            "/services/1",
            "/services/2",
            "/urls/0",
            "/wait"
        ]
    );
}

#[test]
fn datacenters_share_the_connections() {
    let each = |settings| settings::read(&settings).unwrap().connections_each();
    assert_eq!(each(json!({"url": "http://a"})), 64);
    assert_eq!(each(json!({"url": "http://a", "connections": 8192})), 8192);
    let three = json!({"url": "http://a", "connections": 10, "datacenters": ["a", "b", "c"]});
    assert_eq!(each(three), 3);
    let few = json!({"url": "http://a", "connections": 1, "datacenters": ["a", "b"]});
    assert_eq!(each(few), 1, "none goes without");
}
