//! Claims about what is told while a part is not known.

use serde_json::json;

use super::{
    super::KIND,
    fake::{Fake, entry},
};
use crate::testing::World;

#[tokio::test]
async fn everything_that_is_said_at_once_has_the_queries_in_it() {
    let fake = Fake::new();
    fake.put("orders", &[entry("orders", "a")]);
    fake.query("near", &[entry("orders", "far")]);
    let server = fake.start();
    let settings = json!({"url": server.url, "queries": ["near"]});
    let mut world = World::of(&KIND, &settings);
    let all = world.next_reset().await.expect("everything at once");
    assert_eq!(all.len(), 2);
}

#[tokio::test]
async fn nothing_is_all_while_a_query_was_never_answered() {
    let fake = Fake::new();
    fake.put("orders", &[entry("orders", "a")]);
    let server = fake.start();
    let settings = json!({"url": server.url, "queries": ["late"], "query_interval": "100ms"});
    let mut world = World::of(&KIND, &settings);
    assert!(world.next_reset().await.is_none(), "a query is unheard");
    world.until("stale prepared query `late`").await;
    fake.query("late", &[entry("orders", "late")]);
    world.until("reset a@n1 late@n1").await;
}

#[tokio::test]
async fn a_query_that_is_back_as_it_was_ends_the_doubt() {
    let fake = Fake::new();
    fake.put("orders", &[entry("orders", "a")]);
    fake.query("near", &[entry("orders", "far")]);
    let server = fake.start();
    let settings = json!({"url": server.url, "queries": ["near"], "query_interval": "100ms"});
    let mut world = World::of(&KIND, &settings);
    world.until("reset a@n1 far@n1").await;
    fake.forget_query("near");
    world.until("stale prepared query `near`").await;
    fake.query("near", &[entry("orders", "far")]);
    world.until("reset a@n1 far@n1").await;
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_answers_nonsense() {
    let (odd, sound) = (Fake::new(), Fake::new());
    for path in ["/v1/catalog/services", "/v1/health/service/orders"] {
        odd.answer_oddly(path, 1000, (200, "<html>"));
    }
    sound.put("orders", &[entry("orders", "a")]);
    let servers = [odd.start(), sound.start()];
    let urls = servers.each_ref().map(|server| server.url.clone());
    let mut world = World::of(&KIND, &json!({"urls": urls}));
    world.until("reset a@n1").await;
}

#[tokio::test]
async fn nothing_is_all_while_a_datacenter_was_never_heard() {
    let fake = Fake::new();
    fake.put("orders", &[entry("orders", "a")]);
    fake.put("users", &[entry("users", "u")]);
    fake.refuse("dc2", Some((500, "No path to datacenter")));
    let server = fake.start();
    let settings = json!({"url": server.url, "datacenters": ["dc1", "dc2"]});
    let mut world = World::of(&KIND, &settings);
    world.until("put u@n1.dc1").await;
    world.until("stale datacenter dc2").await;
    fake.remove("users");
    world.until("gone u@n1.dc1").await;
    fake.refuse("dc2", None);
    world.until("reset a@n1.dc1 a@n1.dc2").await;
}

#[tokio::test]
async fn while_a_part_is_in_doubt_changes_are_told_together() {
    let fake = Fake::new();
    for number in 0..20 {
        let name = format!("s{number}");
        fake.put(&name, &[entry(&name, &name)]);
    }
    let server = fake.start();
    let settings = json!({"url": server.url, "datacenters": ["dc1", "dc2"]});
    let mut world = World::of(&KIND, &settings);
    while world.next_reset().await.is_none_or(|all| all.len() < 40) {}
    fake.refuse("dc2", Some((500, "No path to datacenter")));
    world.until("stale datacenter dc2").await;
    for number in 0..20 {
        let name = format!("s{number}");
        fake.put(&name, &[entry(&name, &format!("new{number}"))]);
    }
    let mut resets = 0;
    loop {
        let Some(all) = world.next_reset().await else {
            continue;
        };
        resets += 1;
        let new = all
            .iter()
            .filter(|made| made.id.as_str().starts_with("new"));
        if new.count() == 20 {
            break;
        }
    }
    assert!(resets <= 3, "{resets} for changes that came together");
    world.until("stale datacenter dc2").await;
}
