//! Claims about how entries become instances.

#![expect(clippy::arithmetic_side_effects, reason = "a test's own small numbers")]

use std::sync::Arc;

use portolan_model::{Health, Instance, SourceId};
use portolan_sources::frame::View;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::entry;
use crate::consul::{map::Entries, settings};

fn view_with(more: &Value, list: Vec<Value>) -> View {
    let mut read = json!({"url": "http://a"});
    let fields = read.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    let settings = settings::read(&read).unwrap();
    let entries = Entries {
        list,
        ..Entries::default()
    };
    let mut view = View::default();
    entries.add(&settings, &SourceId::new("test"), &mut view);
    view
}

fn made(entry: Value) -> Arc<Instance> {
    let view = view_with(&json!({}), vec![entry]);
    let made = view.instances().next().cloned();
    made.unwrap_or_else(|| panic!("{:?}", view.unfits()))
}

#[test]
fn labels_of_an_entry_are_mapped() {
    let mut web = entry("Web", "w");
    web["Service"]["Tags"] = json!(["blue", "version=3", "zone=z9"]);
    web["Service"]["Meta"] = json!({"zone": "z1", "port-admin": "9000"});
    web["Service"]["Address"] = json!("10.1.1.1");
    web["Service"]["Weights"] = json!({"Passing": 3, "Warning": 1});
    let instance = made(web.clone());
    assert_eq!(instance.key.to_string(), "web");
    assert_eq!(instance.version.as_deref(), Some("3"));
    assert_eq!(instance.zone.as_deref(), Some("z1"));
    assert_eq!(instance.weight.as_u16(), 300);
    let endpoints: Vec<_> = instance
        .endpoints
        .iter()
        .map(|endpoint| format!("{} {}", endpoint.name, endpoint.address))
        .collect();
    assert_eq!(endpoints, ["default 10.1.1.1:80", "admin 10.1.1.1:9000"]);
    web["Checks"][1]["Status"] = json!("warning");
    let warned = made(web);
    assert_eq!(warned.state.health, Health::Warning);
    assert_eq!(warned.weight.as_u16(), 100);
}

#[test]
fn a_node_is_where_its_services_are() {
    assert_eq!(
        made(entry("a", "a")).endpoints[0].address.to_string(),
        "10.0.0.1:80"
    );
}

#[test]
fn a_host_name_is_passed_over_and_told() {
    let mut named = entry("db", "d");
    named["Service"]["Address"] = json!("db.example");
    let view = view_with(&json!({}), vec![named, entry("db", "e")]);
    assert_eq!(view.len(), 1);
    let example = view.unfits().example().unwrap();
    assert!(example.contains("host name `db.example`"), "{example}");
}

#[test]
fn proxies_and_instances_without_the_tags_are_left_out() {
    let mut proxy = entry("web", "p");
    proxy["Service"]["Kind"] = json!("connect-proxy");
    let mut blue = entry("web", "b");
    blue["Service"]["Tags"] = json!(["Blue", "x"]);
    let view = view_with(
        &json!({"tags": ["blue"]}),
        vec![proxy, blue, entry("web", "c")],
    );
    let ids: Vec<_> = view.instances().map(|found| found.id.to_string()).collect();
    assert_eq!(ids, ["b@n1"]);
    assert_eq!(view.unfits().count(), 0);
}

#[test]
fn expressions_speak_of_the_entry() {
    let settings = json!({
        "only": "Service.ID != \"b\"",
        "map": {"zone": "Node.Datacenter", "version": "Checks[0].CheckID"},
    });
    let view = view_with(&settings, vec![entry("web", "a"), entry("web", "b")]);
    assert_eq!(view.len(), 1);
    let made = view.instances().next().unwrap();
    assert_eq!(made.zone.as_deref(), Some("dc1"));
    assert_eq!(made.version.as_deref(), Some("serfHealth"));
}

#[test]
fn ids_are_unique_on_a_node_only() {
    let mut second = entry("web", "web");
    second["Node"]["Node"] = json!("n2");
    let view = view_with(&json!({}), vec![entry("web", "web"), second]);
    let ids: Vec<_> = view.instances().map(|found| found.id.to_string()).collect();
    assert_eq!(ids, ["web@n1", "web@n2"]);
}

/// An entry in which one place is something else.
fn damaged() -> impl Strategy<Value = Value> {
    let places = [
        "/Node",
        "/Service",
        "/Checks",
        "/Node/Node",
        "/Node/Address",
        "/Service/ID",
        "/Service/Service",
        "/Service/Tags",
        "/Service/Meta",
        "/Service/Port",
        "/Service/Weights",
        "/Checks/0",
        "/Checks/1/Status",
    ];
    let junk = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([1, {"a": []}])),
    ];
    (prop::sample::select(places.to_vec()), junk).prop_map(|(place, junk)| {
        let mut entry = entry("web", "a");
        *entry.pointer_mut(place).unwrap() = junk;
        entry
    })
}

proptest! {
    #[test]
    fn a_damaged_entry_takes_no_other_down(damaged in damaged()) {
        let view = view_with(&json!({}), vec![damaged, entry("web", "sound")]);
        prop_assert!(view.instances().any(|found| found.id.as_str() == "sound@n1"));
        prop_assert!(view.len() + usize::try_from(view.unfits().count()).unwrap() <= 2);
    }
}
