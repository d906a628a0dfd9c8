//! Claims about following many services by few questions.

use serde_json::json;

use super::{
    super::KIND,
    fake::{Fake, entry},
};
use crate::testing::{Server, World};

fn many() -> (Fake, Server) {
    let fake = Fake::new();
    for number in 0..100 {
        let name = format!("s{number}");
        fake.put(&name, &[entry(&name, &name)]);
    }
    let server = fake.start();
    (fake, server)
}

async fn reset(world: &mut World) -> usize {
    loop {
        if let Some(all) = world.next_reset().await {
            return all.len();
        }
    }
}

#[tokio::test]
async fn what_no_check_shows_is_seen_nevertheless() {
    let (fake, server) = many();
    let mut world = World::of(&KIND, &json!({"url": server.url}));
    assert_eq!(reset(&mut world).await, 100);
    let mut moved = entry("s7", "s7");
    moved["Service"]["Port"] = json!(81);
    fake.put("s7", &[moved]);
    world.until("put s7@n1").await;
}

#[tokio::test]
async fn other_tags_are_seen_at_once() {
    let (fake, server) = many();
    let mut world = World::of(&KIND, &json!({"url": server.url}));
    assert_eq!(reset(&mut world).await, 100);
    fake.waits_for(64 + 2).await;
    let fetched = fake.fetches();
    let mut tagged = entry("s99", "s99");
    tagged["Service"]["Tags"] = json!(["blue"]);
    fake.put("s99", &[tagged]);
    world.until("put s99@n1").await;
    let more = fake.fetches() - fetched;
    assert!(
        more <= 3,
        "{more} services were fetched for one that changed"
    );
}

#[tokio::test]
async fn a_server_that_lags_behind_the_sign_hides_nothing() {
    let (fake, server) = many();
    let mut world = World::of(&KIND, &json!({"url": server.url}));
    assert_eq!(reset(&mut world).await, 100);
    fake.put_at_leader("s7", &[entry("s7", "s7"), entry("s7", "new")]);
    world.until("put new@n1").await;
}

#[tokio::test]
async fn one_bad_answer_does_not_throw_the_others_away() {
    let (fake, server) = many();
    let path = |name: &str| format!("/v1/health/service/{name}");
    fake.answer_oddly(&path("s7"), 1, (429, "slowly"));
    fake.answer_oddly(&path("s8"), 2, (200, "<html>"));
    let mut world = World::of(&KIND, &json!({"url": server.url}));
    assert_eq!(world.next_reset().await.expect("all at once").len(), 100);
    assert!(fake.fetches() < 200, "{} fetches", fake.fetches());
}

#[tokio::test]
async fn over_http2_few_connections_carry_a_query_for_each() {
    let fake = Fake::new();
    for number in 0..250 {
        let name = format!("s{number}");
        fake.put(&name, &[entry(&name, &name)]);
    }
    // A Portolan says who it is, and speaks HTTP/2 in the clear.
    fake.sign(2);
    let server = fake.start();
    let settings = json!({"url": server.url, "connections": 3});
    let mut world = World::of(&KIND, &settings);
    assert_eq!(reset(&mut world).await, 250);
    fake.waits_for(250 + 1).await;
    let mut moved = entry("s7", "s7");
    moved["Service"]["Port"] = json!(81);
    let fetched = fake.fetches();
    fake.put("s7", &[moved]);
    world.until("put s7").await;
    assert!(fake.fetches() - fetched <= 1, "its own query told it");
}

#[tokio::test]
async fn what_changed_lately_has_a_query_of_its_own() {
    let (fake, server) = many();
    let settings = json!({"url": server.url, "connections": 4});
    let mut world = World::of(&KIND, &settings);
    assert_eq!(reset(&mut world).await, 100);
    fake.waits_for(4 + 2).await;
    assert!(!fake.is_waited_for("s99"));
    fake.put("s99", &[entry("s99", "s99"), entry("s99", "new")]);
    world.until("put new@n1").await;
    while !fake.is_waited_for("s99") {
        tokio::task::yield_now().await;
    }
    let mut moved = entry("s99", "s99");
    moved["Service"]["Port"] = json!(81);
    let fetched = fake.fetches();
    fake.put("s99", &[moved, entry("s99", "new")]);
    world.until("put s99@n1").await;
    assert!(fake.fetches() - fetched <= 1, "its own query told it");
}

#[tokio::test]
async fn more_queries_than_consul_takes_are_no_outage() {
    let (fake, server) = many();
    fake.limit_queries(40);
    let settings = json!({"url": server.url, "connections": 90});
    let mut world = World::of(&KIND, &settings);
    assert_eq!(reset(&mut world).await, 100);
    while fake.turned_away() == 0 {
        tokio::task::yield_now().await;
    }
    for number in [0, 50, 99] {
        let name = format!("s{number}");
        let new = format!("new{number}");
        fake.put(&name, &[entry(&name, &name), entry(&name, &new)]);
        world.until(&format!("put {new}@n1")).await;
    }
    let words = world.besides();
    assert!(
        words.iter().all(|word| !word.starts_with("stale")),
        "{words:?}"
    );
}
