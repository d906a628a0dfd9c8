//! Claims about how Nacos is read. Answers are as servers of Nacos 2 give them, by the
//! documentation of its open API; the server of the protocol's tests is a small fake.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use portolan_model::{Health, Instance, Override, SourceId};
use portolan_runtime::Env;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    map::{self, Service, ServiceInfo},
    messages::{Payload, REQUEST},
    settings::{Settings, read as settings_of},
    watch::Nacos,
};
use crate::{
    grpc::tests::{Heard, server},
    world::World,
};

fn settings(more: &Value) -> Settings {
    let mut settings = json!({"url": "http://127.0.0.1:8848"});
    let both = settings.as_object_mut().unwrap();
    both.extend(more.as_object().unwrap().clone());
    settings_of(&settings).unwrap()
}

fn service(namespace: &str, group: &str) -> Service {
    Service {
        namespace: namespace.to_owned(),
        group: group.to_owned(),
        name: "Orders".to_owned(),
    }
}

fn host(more: &Value) -> Value {
    let mut host = json!({
        "instanceId": "10.0.0.7#8080#DEFAULT#DEFAULT_GROUP@@Orders", "ip": "10.0.0.7",
        "port": 8080, "weight": 1.0, "healthy": true, "enabled": true, "ephemeral": true,
        "clusterName": "DEFAULT", "serviceName": "DEFAULT_GROUP@@Orders", "metadata": {},
    });
    host.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    host
}

fn made(service: &Service, info: &Value) -> Vec<(String, Instance)> {
    let info: ServiceInfo = serde_json::from_value(info.clone()).unwrap();
    let basics = settings(&json!({})).basics;
    let made = map::read(&basics, &SourceId::new("nacos:one"), service, &info);
    let made = made.into_iter();
    made.map(|(path, made)| (path, made.unwrap().unwrap()))
        .collect()
}

fn one(more: &Value) -> Instance {
    let info = json!({"hosts": [host(more)]});
    made(&service("public", "DEFAULT_GROUP"), &info).remove(0).1
}

#[test]
fn a_host_is_read() {
    let plain = one(&json!({"metadata": {"version": "v2", "zone": "z1", "k": "v"}}));
    assert_eq!(plain.key.to_string(), "orders");
    assert_eq!(plain.id.as_str(), "10.0.0.7:8080");
    assert_eq!(
        (plain.version.as_deref(), plain.zone.as_deref()),
        (Some("v2"), Some("z1"))
    );
    assert_eq!(
        plain.metadata.get("cluster").map(|text| &**text),
        Some("DEFAULT")
    );
    assert_eq!(
        plain.metadata.get("ephemeral").map(|text| &**text),
        Some("true")
    );
    assert_eq!(
        (plain.weight.as_u16(), plain.state.health),
        (100, Health::Passing)
    );
    let elsewhere = one(&json!({"clusterName": "HZ"}));
    assert_eq!(elsewhere.id.as_str(), "10.0.0.7:8080~HZ");
    assert_eq!(
        one(&json!({"healthy": false})).state.health,
        Health::Critical
    );
    assert_eq!(
        one(&json!({"enabled": false})).state.overridden,
        Override::Maintenance
    );
}

#[test]
fn weights_are_shares_of_a_hundred() {
    for (weight, share) in [
        (1.0, 100),
        (0.5, 50),
        (0.001, 1),
        (2.255, 226),
        (1e9, u16::MAX),
    ] {
        assert_eq!(
            one(&json!({"weight": weight})).weight.as_u16(),
            share,
            "{weight}"
        );
    }
    for weight in [0.0, -1.0] {
        let out = one(&json!({"weight": weight}));
        assert_eq!(out.state.overridden, Override::Maintenance, "{weight}");
    }
}

#[test]
fn groups_and_namespaces_are_scopes() {
    let info = json!({"hosts": [host(&json!({}))]});
    for (namespace, group, expected) in [
        ("public", "DEFAULT_GROUP", "orders"),
        ("public", "G1", "default.g1/orders"),
        ("dev", "DEFAULT_GROUP", "dev/orders"),
        ("dev", "G1", "dev.g1/orders"),
    ] {
        let service = service(namespace, group);
        let (_, made) = made(&service, &info).remove(0);
        assert_eq!(made.key.to_string(), expected);
        assert_eq!(service.key(&settings(&json!({})).basics), Some(made.key));
    }
}

#[test]
fn who_is_protected_says_so() {
    let info = json!({"hosts": [host(&json!({}))], "reachProtectionThreshold": true});
    let (_, made) = made(&service("public", "DEFAULT_GROUP"), &info).remove(0);
    assert!(
        made.state
            .note
            .is_some_and(|note| note.contains("protection threshold"))
    );
    assert_eq!(made.state.health, Health::Passing);
}

#[test]
fn a_host_that_can_not_be_read_says_why_and_leaves_the_others() {
    let hosts = json!([
        host(&json!({"ip": "some.host"})),
        host(&json!({"port": 0})),
        7,
        host(&json!({"port": 1}))
    ]);
    let info: ServiceInfo = serde_json::from_value(json!({"hosts": hosts})).unwrap();
    let basics = settings(&json!({})).basics;
    let source = SourceId::new("nacos:one");
    let made = map::read(&basics, &source, &service("public", "DEFAULT_GROUP"), &info);
    let errors: Vec<_> = made
        .values()
        .filter_map(|made| made.as_ref().err())
        .collect();
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "it has no port",
            "it is no instance",
            "it has no IP address"
        ]
    );
    assert_eq!(made.values().filter(|made| made.is_ok()).count(), 1);
}

#[test]
fn settings_that_make_no_sense_are_found() {
    let bad = json!({
        "urls": ["127.0.0.1:8848", "http://a:65000"], "protocol": "udp", "refresh": "1ms",
        "namespaces": ["", "a", "a"], "grpc_port": 0,
    });
    let problems = settings_of(&bad).unwrap_err();
    let paths: Vec<_> = problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    let expected = [
        "/urls/0",
        "/grpc_port",
        "/protocol",
        "/namespaces/0",
        "/namespaces/2",
        "/refresh",
        "/urls/0",
    ];
    assert_eq!(paths, expected);
    let unused = json!({"url": "http://a:1", "protocol": "http", "grpc_port": 9848});
    let problems = settings_of(&unused).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].path, "/grpc_port");
    let good = settings(&json!({"username": "u", "password": "hush", "groups": ["A", "B"]}));
    assert!(!format!("{good:?}").contains("hush"));
    assert_eq!(
        good.servers.urls[0].to_string(),
        "http://127.0.0.1:8848/nacos"
    );
    let url = good.grpc_url(&good.servers.urls[0]).unwrap();
    assert_eq!(url.to_string(), "http://127.0.0.1:9848");
    assert_eq!(good.scopes().count(), 2);
}

proptest! {
    #[test]
    fn no_answer_is_too_odd(text in "[\\[\\]{}\":,a-zA-Z0-9.]{0,80}", port in any::<i64>()) {
        let service = service("public", &text);
        let basics = settings(&json!({})).basics;
        let odd = host(&json!({"ip": text.clone(), "port": port, "clusterName": text}));
        let info = ServiceInfo { hosts: Some(vec![odd]), ..ServiceInfo::default() };
        let _any = map::read(&basics, &SourceId::new("nacos:one"), &service, &info);
        let _any = serde_json::from_str::<ServiceInfo>(&text);
    }
}

/// A server of one service, whose hosts it pushes.
#[derive(Default)]
struct Fake {
    hosts: Mutex<Vec<Value>>,
    /// Questions that are refused because the connection is not known yet.
    early: AtomicUsize,
    acks: AtomicUsize,
    connections: AtomicUsize,
}

impl Fake {
    fn info(&self) -> Value {
        let hosts = self.hosts.lock().unwrap().clone();
        json!({"name": "Orders", "groupName": "DEFAULT_GROUP", "hosts": hosts, "valid": true})
    }

    async fn serve(self: Arc<Self>, mut heard: Heard) {
        if heard.method == REQUEST {
            let asked: Payload = heard.next().await.unwrap();
            let (kind, body) = self.answer(asked.kind());
            heard.say(&Payload::new(kind, &body, None));
            return heard.end("0", "");
        }
        let set_up: Payload = heard.next().await.unwrap();
        assert_eq!(set_up.kind(), "ConnectionSetupRequest");
        if self.connections.fetch_add(1, Relaxed) > 0 {
            // The second time it stays.
            while heard.next::<Payload>().await.is_some() {}
            return;
        }
        let gone = self.hosts.lock().unwrap().remove(0);
        self.hosts
            .lock()
            .unwrap()
            .push(host(&json!({"ip": "10.0.0.9"})));
        let push = json!({"requestId": "1", "namespace": "public", "serviceInfo": self.info()});
        heard.say(&Payload::new("NotifySubscriberRequest", &push, None));
        let ack: Payload = heard.next().await.unwrap();
        assert_eq!(ack.kind(), "NotifySubscriberResponse");
        self.acks.fetch_add(1, Relaxed);
        self.hosts.lock().unwrap().push(gone);
        let reset = json!({"requestId": "2", "serverIp": "", "serverPort": ""});
        heard.say(&Payload::new("ConnectResetRequest", &reset, None));
        while heard.next::<Payload>().await.is_some() {}
    }

    fn answer(&self, kind: &str) -> (&'static str, Value) {
        let well = |mut body: Value| {
            body["resultCode"] = json!(200);
            body
        };
        match kind {
            "ServerCheckRequest" => ("ServerCheckResponse", well(json!({"connectionId": "c"}))),
            "ServiceListRequest" if self.early.fetch_add(1, Relaxed) < 2 => {
                let body = json!({"resultCode": 500, "errorCode": 301, "message": "unregistered"});
                ("ErrorResponse", body)
            }
            "ServiceListRequest" => (
                "ServiceListResponse",
                well(json!({"count": 1, "serviceNames": ["Orders"]})),
            ),
            "SubscribeServiceRequest" => (
                "SubscribeServiceResponse",
                well(json!({"serviceInfo": self.info()})),
            ),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn pushes_are_taken_and_acknowledged_and_a_reset_moves_on() {
    let env = Env::system();
    let fake = Arc::new(Fake::default());
    fake.hosts.lock().unwrap().push(host(&json!({})));
    let serving = Arc::clone(&fake);
    let (url, _server) = server(&env, move |heard| Arc::clone(&serving).serve(heard)).await;
    let settings = settings_of(&json!({"url": "http://127.0.0.1:1", "grpc_port": url.port()}));
    let id = SourceId::new("nacos:one");
    let source = Nacos::new(settings.unwrap(), id.clone(), env.clone());
    let mut world = World::new(&env, &id, source);
    // The push may come before the first answer is told, so only the end is certain.
    world.until("10.0.0.7:8080 10.0.0.9:8080").await;
    assert_eq!(fake.acks.load(Relaxed), 1);
    assert_eq!(fake.connections.load(Relaxed), 2);
    assert!(
        world.stale().is_empty(),
        "a reset is no outage: {:?}",
        world.stale()
    );
}
