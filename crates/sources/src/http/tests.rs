//! Claims about the `http` source.

#![expect(clippy::arithmetic_side_effects, reason = "a test's own small numbers")]

use std::sync::{Arc, Mutex};

use portolan_model::{Health, SourceId};
use portolan_runtime::Env;
use portolan_wire::serve::Request;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{KIND, map, settings};
use crate::{
    frame::Provenance,
    testing::{Server, World, answer, field, instances},
};

/// A server, its document, and what it was asked.
#[derive(Clone, Default)]
struct Site(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    body: String,
    version: u64,
    status: Option<u16>,
    asked: Vec<(String, Option<String>)>,
}

impl Site {
    fn start(&self) -> Server {
        let this = self.clone();
        Server::start(&Env::system(), move |request: Request| {
            let mut state = this.0.lock().unwrap();
            let seen = field(request.headers(), "if-none-match");
            state.asked.push((request.uri().to_string(), seen.clone()));
            let tag = format!("\"{}\"", state.version);
            let answered = match state.status {
                Some(status) => answer(status, &[("retry-after", "0")], "later"),
                None if seen.as_ref() == Some(&tag) => answer(304, &[], ""),
                None => answer(200, &[("etag", &tag)], state.body.clone()),
            };
            async move { answered }
        })
    }

    fn put(&self, body: &Value) {
        let mut state = self.0.lock().unwrap();
        state.body = body.to_string();
        state.version += 1;
    }

    fn fail(&self, status: Option<u16>) {
        self.0.lock().unwrap().status = status;
    }

    fn asked(&self) -> Vec<(String, Option<String>)> {
        self.0.lock().unwrap().asked.clone()
    }
}

fn item(id: &str) -> Value {
    json!({"service": "orders", "id": id, "address": "10.0.0.1", "port": 80})
}

#[tokio::test]
async fn a_list_is_read_and_asked_for_only_if_it_changed() {
    let site = Site::default();
    site.put(&json!([item("a"), item("b")]));
    let server = site.start();
    let settings =
        json!({"url": format!("{}/x.json", server.url), "query": "env=prod", "interval": "100ms"});
    let mut world = World::of(&KIND, &settings);
    world.until("reset a b").await;
    while site.asked().len() < 3 {
        tokio::task::yield_now().await;
    }
    let asked = site.asked();
    assert_eq!(asked[0], ("/x.json?env=prod".to_owned(), None));
    assert_eq!(asked[2].1.as_deref(), Some("\"1\""));
    site.put(&json!([item("b"), item("c")]));
    world.until("reset b c").await;
    assert_eq!(world.besides(), [""; 0]);
}

#[tokio::test]
async fn a_failure_keeps_what_was_known() {
    let site = Site::default();
    site.put(&json!([item("a")]));
    let server = site.start();
    let mut world = World::of(&KIND, &json!({"url": server.url, "interval": "100ms"}));
    world.until("reset a").await;
    site.fail(Some(500));
    world.until("stale 500").await;
    site.fail(None);
    world.until("reset a").await;
    site.put(&json!({"not": "a list"}));
    world.until("stale comes to a map").await;
    site.put(&json!([item("a"), {"address": "nowhere"}]));
    world.until("reset a").await;
    let example = world.unfit().unwrap();
    assert!(example.contains("item 1"), "{example}");
    site.put(&json!([{"address": "nowhere"}]));
    world
        .until("stale none of its 1 items is an instance")
        .await;
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_answers_nonsense() {
    let (odd, sound) = (Site::default(), Site::default());
    sound.put(&json!([item("a")]));
    let servers = [odd.start(), sound.start()];
    for nonsense in ["<html>", "{\"not\": \"a list\"}"] {
        odd.0.lock().unwrap().body = nonsense.to_owned();
        let urls = servers.each_ref().map(|server| server.url.clone());
        let mut world = World::of(&KIND, &json!({"urls": urls, "interval": "100ms"}));
        world.until("reset a").await;
    }
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit() {
    let site = Site::default();
    let list = json!([item("a")]);
    site.put(&list);
    let server = site.start();
    let bytes = list.to_string().len();
    let settings = |max: usize| json!({"url": server.url, "size_max": max.to_string()});
    let mut world = World::of(&KIND, &settings(bytes));
    world.until("reset a").await;
    let mut world = World::of(&KIND, &settings(bytes - 1));
    world.until("stale over the limit").await;
}

#[tokio::test]
async fn expressions_find_the_items_and_their_fields() {
    let site = Site::default();
    site.put(&json!({"hosts": [
        {"role": "web", "ip": "10.0.0.1", "up": false},
        {"role": "db", "ip": "10.0.0.2", "up": true},
    ]}));
    let server = site.start();
    let settings = json!({
        "url": server.url,
        "items": "document.hosts",
        "only": "item.role == \"web\"",
        "map": {"service": "item.role", "address": "item.ip", "port": "8080", "health": "item.up"},
    });
    let mut world = World::of(&KIND, &settings);
    let all = instances(world.until("reset 10.0.0.1:8080").await);
    assert_eq!(all[0].key.to_string(), "web");
    assert_eq!(all[0].state.health, Health::Critical);
}

#[test]
fn fields_of_the_same_names_are_taken() {
    let settings = settings::read(&json!({"url": "http://a", "service": "orders"})).unwrap();
    let item = json!({
        "address": "::1", "port": "81", "ports": {"admin": 9000, "odd": "x"},
        "zone": "z", "version": 2, "weight": 50, "tags": ["a", 1, {}],
        "metadata": {"k": true, "odd": []}, "health": "warning",
    });
    let source = SourceId::new("test");
    let view = map::view(&settings, &source, &Provenance::default(), json!([item]));
    let view = view.unwrap();
    let made = view.instances().next().unwrap();
    assert_eq!(made.id.as_str(), "[::1]:81");
    assert_eq!(made.endpoints.len(), 2);
    assert_eq!(made.zone.as_deref(), Some("z"));
    assert_eq!(made.version.as_deref(), Some("2"));
    assert_eq!(made.weight.as_u16(), 50);
    assert_eq!(made.tags.len(), 2);
    assert_eq!(made.metadata.len(), 1);
    assert_eq!(made.state.health, Health::Warning);
}

#[test]
fn settings_say_what_is_wrong_with_them() {
    let settings =
        json!({"items": "document.", "interval": "soon", "size_max": "1GiB", "query": "a b"});
    let problems = (KIND.parse)(&settings).unwrap_err();
    let mut paths: Vec<_> = problems.iter().map(|problem| &*problem.path).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        ["/interval", "/items", "/query", "/size_max", "/urls"]
    );
}

/// Any JSON that is not too large.
pub(super) fn json_of_any_kind() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9.:/ -]{0,12}".prop_map(Value::from),
    ];
    let keys = prop_oneof![
        Just("service"),
        Just("id"),
        Just("address"),
        Just("port"),
        Just("ports"),
        Just("weight"),
        Just("tags"),
        Just("metadata"),
        Just("health"),
        Just("x"),
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        let map = prop::collection::hash_map(keys.clone(), inner.clone(), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Value::from),
            map.prop_map(|map| map
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_document_comes_to_instances_or_a_reason(document in json_of_any_kind()) {
        let settings = settings::read(&json!({"url": "http://a", "service": "s"})).unwrap();
        let items = document.as_array().map_or(0, Vec::len);
        let source = SourceId::new("test");
        match map::view(&settings, &source, &Provenance::default(), document) {
            Ok(view) => prop_assert!(view.len() <= items),
            Err(reason) => prop_assert!(!reason.is_empty()),
        }
    }
}
