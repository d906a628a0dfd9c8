//! Claims about how keys and values are read. Values of `grpc` are as etcd's own naming
//! package for Go writes them, those of `skydns` as the documentation of `SkyDNS` shows them.

use portolan_model::{Health, Instance, SourceId};
use portolan_sources::frame::Unfit;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    map,
    settings::{Layout, Settings, read as settings_of},
};

fn settings(layout: &str, prefix: &str) -> Settings {
    let settings = json!({
        "url": "http://127.0.0.1:2379", "layout": layout, "prefix": prefix, "zone": "z0",
    });
    settings_of(&settings).unwrap()
}

fn made(settings: &Settings, key: &str, value: &str) -> Result<Option<Instance>, Unfit> {
    map::read(settings, &SourceId::new("etcd:one"), key, value.as_bytes())
}

fn instance(settings: &Settings, key: &str, value: &Value) -> Instance {
    made(settings, key, &value.to_string()).unwrap().unwrap()
}

#[test]
fn addresses_of_grpc_are_read() {
    let all = settings("grpc", "services/");
    let value = json!({"Op": 0, "Addr": "10.0.0.7:9001", "Metadata": {"version": "v2", "weight": 50, "team": "x"}});
    let made = instance(&all, "services/shop/orders/a1", &value);
    assert_eq!(made.key.to_string(), "shop-orders");
    assert_eq!(made.id.as_str(), "a1");
    assert_eq!(made.endpoints[0].address.to_string(), "10.0.0.7:9001");
    assert_eq!(made.version.as_deref(), Some("v2"));
    assert_eq!(made.weight.as_u16(), 50);
    assert_eq!(made.zone.as_deref(), Some("z0"));
    assert_eq!(made.metadata.get("team").map(|team| &**team), Some("x"));
    let sixth = json!({"Op": 0, "Addr": "[::1]:80", "Metadata": null});
    let made = instance(&settings("grpc", "orders"), "orders/10.0.0.7:9001", &sixth);
    assert_eq!(made.key.to_string(), "orders");
    assert_eq!(made.endpoints[0].address.to_string(), "[::1]:80");
    let made = instance(&settings("grpc", ""), "users/b", &sixth);
    assert_eq!(made.key.to_string(), "users");
}

#[test]
fn an_address_that_is_marked_as_deleted_is_no_instance() {
    let deleted = json!({"Op": 1, "Addr": "10.0.0.7:9001"}).to_string();
    let settings = settings("grpc", "services");
    assert_eq!(made(&settings, "services/orders/a", &deleted), Ok(None));
}

#[test]
fn names_of_skydns_are_turned_around() {
    let value = json!({"host": "10.0.0.7", "port": 80, "priority": 10, "weight": 20, "text": "hello", "ttl": 60});
    let all = settings("skydns", "/skydns");
    let made = instance(&all, "/skydns/local/cluster/orders/x1", &value);
    assert_eq!(made.key.to_string(), "orders.cluster.local");
    assert_eq!((made.id.as_str(), made.weight.as_u16()), ("x1", 20));
    assert_eq!(made.metadata.get("text").map(|text| &**text), Some("hello"));
    let below = settings("skydns", "/skydns/local/cluster");
    let plain = json!({"host": "10.0.0.7", "port": "80", "weight": 0});
    let made = instance(&below, "/skydns/local/cluster/orders/x1", &plain);
    assert_eq!(made.key.to_string(), "orders");
    assert_eq!(made.weight.as_u16(), 100);
    let alone = instance(&below, "/skydns/local/cluster/orders", &plain);
    assert_eq!(
        (alone.key.to_string(), alone.id.as_str()),
        ("orders".into(), "orders")
    );
}

#[test]
fn our_own_layout_is_that_of_a_registration() {
    let value = json!({
        "address": "10.0.0.7", "ports": {"admin": 1, "http": 2}, "status": "warning", "note": "slow",
        "tags": ["blue"], "metadata": {"a": "b"}, "weight": 7,
    });
    let made = instance(&settings("portolan", "/p"), "/p/shop/orders/a", &value);
    assert_eq!(made.key.to_string(), "shop/orders");
    assert_eq!(made.endpoints[0].name.as_str(), "http");
    assert_eq!(made.state.health, Health::Warning);
    assert_eq!(made.state.note.as_deref(), Some("slow"));
    assert_eq!((&*made.tags[0], made.weight.as_u16()), ("blue", 7));
}

#[test]
fn what_can_not_be_read_says_why() {
    let grpc = settings("grpc", "s");
    let skydns = settings("skydns", "/skydns");
    let ours = settings("portolan", "/p");
    let large = format!("\"{}\"", "x".repeat(64 << 10));
    for (settings, key, value, why) in [
        (&grpc, "s/a/b", "nonsense", "not JSON"),
        (&grpc, "s/a/b", "{}", "`Addr`"),
        (&grpc, "s/a/b", &*large, "over the limit"),
        (&grpc, "s/a/b", r#"{"Addr": "host:80"}"#, "no IP address"),
        (&grpc, "s/a/b", r#"{"Addr": "10.0.0.1"}"#, "no port"),
        (&skydns, "/skydns/a/b", r#"{"host": "10.0.0.1"}"#, "no port"),
        (&skydns, "/skydns/", r#"{"host": "10.0.0.1"}"#, "no name"),
        (
            &ours,
            "/p/a/b",
            r#"{"address": "10.0.0.1", "port": 1}"#,
            "<namespace>",
        ),
        (&ours, "/p/a/b/c", r#"{"port": 0}"#, "no registration"),
        (&ours, "/p/a/b/c", r#"{"port": 1}"#, "no IP address"),
    ] {
        let error = made(settings, key, value).unwrap_err().to_string();
        assert!(error.contains(why), "{key} {value}: {error}");
    }
}

#[test]
fn expressions_see_the_key_and_the_value() {
    let mut settings = settings("grpc", "s");
    let more = json!({
        "url": "http://127.0.0.1:2379", "prefix": "s",
        "only": "key != \"s/a/hidden\"", "map": {"version": "value.Metadata.v"},
    });
    settings.basics = settings_of(&more).unwrap().basics;
    let value = json!({"Addr": "10.0.0.1:80", "Metadata": {"v": "3"}});
    assert_eq!(
        instance(&settings, "s/a/b", &value).version.as_deref(),
        Some("3")
    );
    assert_eq!(made(&settings, "s/a/hidden", &value.to_string()), Ok(None));
}

#[test]
fn a_prefix_covers_what_is_below_it_and_nothing_else() {
    let covers = |prefix: &str, key: &str| {
        let key = key.as_bytes();
        let end = map::end_key(prefix);
        key >= &*map::first_key(prefix) && (end == [0] || key < &*end)
    };
    assert!(covers("services", "services/a"));
    assert!(covers("services", "services/\u{10ffff}"));
    assert!(!covers("services", "services"));
    assert!(!covers("services", "services2/a"));
    assert!(!covers("services", "servicea"));
    assert!(covers("", "anything"));
}

#[test]
fn settings_that_make_no_sense_are_found() {
    let paths = |settings: &Value| -> Vec<String> {
        let problems = settings_of(settings).unwrap_err();
        problems.into_iter().map(|problem| problem.path).collect()
    };
    let bad = json!({"urls": ["10.0.0.1:2379"], "layout": "zone_file", "username": "root"});
    assert_eq!(paths(&bad), ["/urls/0", "/layout", "/password", "/prefix"]);
    let path = json!({"url": "http://a:1/b", "prefix": ""});
    assert_eq!(paths(&path), ["/urls"]);
}

#[test]
fn the_default_prefix_is_the_layouts() {
    let prefix = |layout: &str| {
        let settings = json!({"url": "http://a:1", "layout": layout});
        settings_of(&settings).unwrap().prefix
    };
    assert_eq!(prefix("skydns"), "/skydns");
    assert_eq!(prefix("portolan"), "/portolan/services");
}

#[test]
fn a_password_is_not_shown() {
    let settings = json!({"url": "http://a:1", "prefix": "", "username": "u", "password": "hush"});
    assert!(!format!("{:?}", settings_of(&settings).unwrap()).contains("hush"));
}

proptest! {
    #[test]
    fn no_key_and_no_value_is_too_odd(key in ".{0,40}", value in "[\\[\\]{}\":,a-zA-Z0-9. ]{0,80}") {
        for layout in ["grpc", "skydns", "portolan"] {
            let settings = settings(layout, "/p");
            prop_assert!(settings.layout == Layout::Grpc || layout != "grpc");
            let _any = made(&settings, &format!("/p/{key}"), &value);
        }
    }
}
