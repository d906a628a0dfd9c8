//! The guard as the native API shows it, and what resolves holds.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

mod common;

use std::time::Duration;

use common::World;
use portolan_runtime::Env;
use serde_json::{Value, json};

const ORDERS: &str = "/v1/services/orders/instances";

/// A world in which so many instances of `orders` have fallen silent at once.
async fn silent(count: usize) -> World {
    let world = World::new(Env::virtual_time(1));
    for n in 0..count {
        let body = json!({"address": "127.0.0.1", "port": 9000 + n, "ttl": "30s", "zone": "a"});
        let path = format!("{ORDERS}/i{n}");
        let (status, answer) = world.call("PUT", &path, &body.to_string()).await;
        assert_eq!(status, 201, "{answer}");
    }
    world.env.sleep(Duration::from_secs(40)).await;
    world
}

async fn holds(world: &World) -> Vec<Value> {
    let (status, guard) = world.call("GET", "/v1/guard", "").await;
    assert_eq!(status, 200, "{guard}");
    guard["holds"].as_array().unwrap().clone()
}

async fn resolve(world: &World, body: Value) -> (u16, Value) {
    let path = "/v1/guard/resolve";
    world.call("POST", path, &body.to_string()).await
}

async fn ids(world: &World) -> usize {
    let (_, list) = world.call("GET", ORDERS, "").await;
    list["instances"].as_array().unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn every_hold_is_shown_with_its_cause() {
    let world = silent(4).await;
    let holds = holds(&world).await;
    assert_eq!(holds.len(), 3);
    let hold = &holds[0];
    assert_eq!(hold["keeping"], "suspect");
    assert_eq!(hold["absence"], "silent");
    assert_eq!(hold["scope"], "service");
    assert_eq!((&hold["gone"], &hold["expected"]), (&json!(2), &json!(4)));
    let cause = hold["cause"].as_str().unwrap();
    assert!(cause.contains("number 2 of 4"), "{cause}");
    assert!(
        hold["since"].is_string() && hold["until"].is_string(),
        "{hold}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_call_lets_all_of_them_go() {
    let world = silent(4).await;
    let (status, answer) = resolve(&world, json!({"action": "release"})).await;
    assert_eq!((status, &answer["resolved"]), (200, &json!(3)), "{answer}");
    assert_eq!(ids(&world).await, 0);
    let (_, events) = world.call("GET", "/v1/events", "").await;
    let last = events["events"].as_array().unwrap().last().unwrap();
    assert_eq!(last["departure"], "explicit");
    assert_eq!(last["origin"]["actor"], "127.0.0.1");
    let (status, problem) = resolve(&world, json!({"action": "release"})).await;
    assert_eq!((status, &problem["cause"]), (404, &json!("hold_not_found")));
}

#[tokio::test(start_paused = true)]
async fn one_call_keeps_one_of_them() {
    let world = silent(3).await;
    let body = json!({"action": "keep", "service": "orders", "id": "i2"});
    let (status, answer) = resolve(&world, body).await;
    assert_eq!((status, &answer["resolved"]), (200, &json!(1)), "{answer}");
    let holds = holds(&world).await;
    let kept: Vec<_> = holds
        .iter()
        .filter(|hold| hold["keeping"] == "told")
        .collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (&kept[0]["id"], &kept[0]["until"]),
        (&json!("i2"), &Value::Null)
    );
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_comes_too_late_ends_the_hold_all_the_same() {
    let world = silent(2).await;
    let id = holds(&world).await[0]["id"].as_str().unwrap().to_owned();
    let (status, _) = world
        .call("PUT", &format!("{ORDERS}/{id}/heartbeat"), "")
        .await;
    assert_eq!(status, 404, "it should register");
    let (_, instance) = world.call("GET", &format!("{ORDERS}/{id}"), "").await;
    // The next word to the catalogue comes after the sign, so that is in by then.
    let body = json!({"address": "127.0.0.1", "port": 1}).to_string();
    world
        .call("PUT", "/v1/services/users/instances/u", &body)
        .await;
    let hold = &holds(&world).await[0];
    assert_eq!(hold["keeping"], "vouched", "{instance}");
    let (_, instance) = world.call("GET", &format!("{ORDERS}/{id}"), "").await;
    assert_eq!(instance["guard"], "none");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_makes_no_sense_is_refused() {
    let world = silent(0).await;
    let cases = [
        (json!({}), 400),
        (json!({"action": "forget"}), 400),
        (json!({"action": "keep", "everything": true}), 400),
        (json!({"action": "keep", "namespace": "a"}), 422),
        (json!({"action": "keep", "service": "orders"}), 404),
    ];
    for (body, expected) in cases {
        let (status, answer) = resolve(&world, body.clone()).await;
        assert_eq!(status, expected, "{body} {answer}");
    }
    assert_eq!(world.call("GET", "/v1/guard/resolve", "").await.0, 405);
    assert_eq!(world.call("POST", "/v1/guard", "{}").await.0, 405);
}
