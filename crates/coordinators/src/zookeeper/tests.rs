//! Claims about how nodes are read. The shapes are those that Curator's JSON serializer,
//! Spring Cloud ZooKeeper and Dubbo write, as their sources have them.

use portolan_model::{Health, Instance, Override, SourceId};
use portolan_sources::frame::Unfit;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    fake::{
        Do::{Create, Delete},
        Fake,
    },
    map,
    settings::{Settings, read as settings_of},
};

fn settings(layout: &str) -> Settings {
    let settings = json!({"servers": ["127.0.0.1:2181"], "layout": layout, "base": "/services"});
    settings_of(&settings).unwrap()
}

fn made(layout: &str, node: &str, data: &str) -> Result<Option<Instance>, Unfit> {
    let source = SourceId::new("zookeeper:one");
    map::read(
        &settings(layout),
        &source,
        ("orders", node),
        Ok(data.as_bytes()),
    )
}

fn instance(layout: &str, node: &str, data: &Value) -> Instance {
    made(layout, node, &data.to_string()).unwrap().unwrap()
}

fn spring(metadata: &Value) -> Value {
    json!({
        "name": "orders", "id": "1-2", "address": "10.0.0.7", "port": 8080, "sslPort": 8443,
        "payload": {
            "@class": "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance",
            "id": "application-1", "name": "orders", "metadata": metadata,
        },
        "registrationTimeUTC": 1_700_000_000_000_u64, "serviceType": "DYNAMIC",
        "uriSpec": {"parts": [{"value": "scheme", "variable": true}]},
    })
}

#[test]
fn an_instance_of_curator_is_read() {
    let data = json!({
        "name": "orders", "id": "1-2", "address": "10.0.0.7", "port": 8080, "sslPort": null,
        "payload": {"@class": "x.Details", "version": "v2", "list": [1]}, "serviceType": "DYNAMIC",
    });
    let made = instance("curator", "1-2", &data);
    assert_eq!(made.key.to_string(), "orders");
    assert_eq!(made.endpoints.len(), 1);
    assert_eq!(made.endpoints[0].address.to_string(), "10.0.0.7:8080");
    assert_eq!(made.version.as_deref(), Some("v2"));
    assert_eq!(made.metadata.len(), 1);
    assert_eq!(made.state.overridden, Override::None);
    let off = json!({"address": "10.0.0.7", "port": "8080", "enabled": false, "payload": "text"});
    let made = instance("curator", "1-2", &off);
    assert_eq!(made.state.overridden, Override::Maintenance);
}

#[test]
fn an_instance_of_spring_says_how_it_does() {
    let made = instance(
        "spring",
        "1-2",
        &spring(&json!({"instance_status": "UP", "zone": "z1"})),
    );
    let ports: Vec<_> = made
        .endpoints
        .iter()
        .map(|port| port.name.as_str())
        .collect();
    assert_eq!(ports, ["default", "secure"]);
    assert_eq!(made.zone.as_deref(), Some("z1"));
    assert_eq!(made.state.health, Health::Passing);
    let out = instance(
        "spring",
        "1",
        &spring(&json!({"instance_status": "OUT_OF_SERVICE"})),
    );
    assert_eq!(out.state.overridden, Override::Maintenance);
    let down = instance("spring", "1", &spring(&json!({"instance_status": "DOWN"})));
    assert_eq!(down.state.health, Health::Critical);
}

#[test]
fn a_provider_of_dubbo_is_its_url() {
    let node = "dubbo%3A%2F%2F10.0.0.7%3A20880%2Forg.shop.Orders%3Fapplication%3Dshop%26\
                group%3Dg1%26version%3D1.0%26weight%3D50%26methods%3Da%252Cb";
    let made = made("dubbo", node, "").unwrap().unwrap();
    assert_eq!(made.id.as_str(), "10.0.0.7:20880~g1~1.0");
    assert_eq!(made.endpoints[0].name.as_str(), "dubbo");
    assert_eq!(made.endpoints[0].address.to_string(), "10.0.0.7:20880");
    assert_eq!(
        (made.version.as_deref(), made.weight.as_u16()),
        (Some("1.0"), 50)
    );
    assert_eq!(
        made.metadata.get("methods").map(|text| &**text),
        Some("a,b")
    );
    assert_eq!(
        made.metadata.get("application").map(|text| &**text),
        Some("shop")
    );
}

#[test]
fn a_provider_that_is_off_is_out_of_service_and_none_is_none() {
    let off = made(
        "dubbo",
        "tri%3A%2F%2F10.0.0.7%3A1%2Fx%3Fdisabled%3Dtrue",
        "",
    );
    assert_eq!(
        off.unwrap().unwrap().state.overridden,
        Override::Maintenance
    );
    assert_eq!(made("dubbo", "empty%3A%2F%2F10.0.0.7%2Fx", ""), Ok(None));
}

#[test]
fn an_application_of_dubbo_has_a_port_for_each_protocol() {
    let endpoints =
        json!([{"port": 8080, "protocol": "dubbo"}, {"port": 50051, "protocol": "tri"}]);
    let metadata =
        json!({"dubbo.endpoints": endpoints.to_string(), "dubbo.metadata.revision": "x"});
    let mut data = spring(&metadata);
    data["sslPort"] = Value::Null;
    let made = instance("dubbo-app", "10.0.0.7:8080", &data);
    let ports: Vec<_> = made
        .endpoints
        .iter()
        .map(|port| port.name.as_str())
        .collect();
    assert_eq!(ports, ["default", "dubbo", "tri"]);
    assert_eq!(made.endpoints[2].address.port(), 50051);
}

#[test]
fn what_can_not_be_read_says_why() {
    for (layout, node, data, why) in [
        ("spring", "a", "", "not JSON"),
        ("spring", "a", r#"{"port": 1}"#, "no IP address"),
        (
            "spring",
            "a",
            r#"{"address": "host", "port": 1}"#,
            "no IP address",
        ),
        ("spring", "a", r#"{"address": "10.0.0.1"}"#, "no port"),
        ("dubbo", "10.0.0.1:80", "", "not the URL"),
        ("dubbo", "dubbo%3A%2F%2F10.0.0.1%2Fx", "", "no port"),
        ("dubbo", "dubbo%3A%2F%2F10.0.0.1%3A0%2Fx", "", "no port"),
        ("dubbo", "dubbo%3A%2F%2Fhost%3A1%2Fx", "", "no IP address"),
    ] {
        let error = made(layout, node, data).unwrap_err().to_string();
        assert!(error.contains(why), "{layout} {node} {data}: {error}");
    }
}

#[test]
fn settings_that_make_no_sense_are_found() {
    let paths = |settings: &Value| -> Vec<String> {
        let problems = settings_of(settings).unwrap_err();
        problems.into_iter().map(|problem| problem.path).collect()
    };
    let bad = json!({"servers": ["zk", "zk:0", "zk:1/x"], "layout": "curator", "chroot": "apps"});
    assert_eq!(
        paths(&bad),
        ["/servers/0", "/servers/1", "/servers/2", "/chroot", "/base"]
    );
    assert_eq!(
        paths(&json!({"servers": [], "base": "/a//b"})),
        ["/servers", "/layout", "/base"]
    );
    let colon = json!({"servers": ["a:1"], "layout": "dubbo", "username": "a:b", "password": "c"});
    assert_eq!(paths(&colon), ["/username"]);
}

#[test]
fn a_password_is_not_shown() {
    let settings =
        json!({"servers": ["a:1"], "layout": "dubbo", "username": "u", "password": "hush"});
    let settings = settings_of(&settings).unwrap();
    assert!(!format!("{settings:?}").contains("hush"));
    assert_eq!(settings.tree.base(), "/dubbo");
}

proptest! {
    #[test]
    fn no_node_is_too_odd(node in ".{1,60}", data in "[\\[\\]{}\":,a-zA-Z0-9. ]{0,80}") {
        for layout in ["curator", "spring", "dubbo", "dubbo-app"] {
            let _any = made(layout, &node, &data);
        }
    }
}

#[tokio::test]
async fn a_node_that_is_deleted_and_made_again_at_once_stays() {
    let nodes = ["/s", "/s/orders", "/s/orders/a", "/s/orders/b", "/s/users"];
    let fake = Fake::of(&nodes);
    let (mut world, _server) = fake.world("single", usize::MAX).await;
    world.until("a b").await;
    // While an answer is waited for, so that all that it does is heard at once.
    fake.does_before_list("/s/users", &[Delete("/s/orders/a"), Create("/s/orders/a")]);
    fake.does(&[Create("/s/users/y")]);
    world.until("a b y").await;
    fake.does(&[Create("/s/users/z")]);
    world.until("a b y z").await;
    // It is watched, too.
    fake.does(&[Delete("/s/orders/a")]);
    world.until("b y z").await;
}

#[tokio::test]
async fn a_node_whose_deletion_is_heard_of_after_the_list_stays() {
    let fake = Fake::of(&["/s", "/s/orders", "/s/orders/a"]);
    let (mut world, _server) = fake.world("single", usize::MAX).await;
    world.until("a").await;
    fake.does_before_list("/s/orders", &[Delete("/s/orders/a"), Create("/s/orders/a")]);
    fake.does(&[Create("/s/orders/b")]);
    world.until("a b").await;
    fake.does(&[Create("/s/users"), Create("/s/users/z")]);
    world.until("a b z").await;
}

#[tokio::test]
async fn a_service_that_is_deleted_and_made_again_at_once_is_watched() {
    let fake = Fake::of(&["/s", "/s/orders", "/s/users", "/s/users/y"]);
    let (mut world, _server) = fake.world("single", usize::MAX).await;
    world.until("y").await;
    fake.does(&[Delete("/s/orders"), Create("/s/orders")]);
    fake.does(&[Create("/s/users/z")]);
    world.until("y z").await;
    fake.does(&[Create("/s/orders/b")]);
    world.until("b y z").await;
}

#[tokio::test]
async fn events_do_not_add_more_nodes_than_a_list_may_have() {
    let fake = Fake::of(&["/s", "/s/orders", "/s/orders/a"]);
    let (mut world, _server) = fake.world("recursive", 3).await;
    world.until("a").await;
    fake.does(&["/s/orders/b", "/s/orders/c", "/s/orders/d"].map(Create));
    let ended = async {
        while fake.sessions() < 2 {
            tokio::task::yield_now().await;
        }
    };
    let env = portolan_runtime::Env::system();
    let ended = env.timeout(std::time::Duration::from_secs(20), ended).await;
    assert!(ended.is_ok(), "it takes more nodes than it should");
    fake.does(&["/s/orders/b", "/s/orders/c"].map(Delete));
    world.until("a d").await;
}
