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
