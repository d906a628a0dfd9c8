//! Claims about the `docker` source.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use portolan_catalog::{Inflow, News, SourceSpec as _, Turn, inboxes};
use portolan_model::{Change, Departure, Health, SourceId};
use portolan_runtime::{Env, Task};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::broadcast,
};

use super::{
    map::{Container, NAMES, concerned_by},
    settings::{self, Host, Settings},
};
use crate::hostile::json_of;

#[expect(
    clippy::needless_pass_by_value,
    reason = "so that calls read as settings do"
)]
fn settings(text: Value) -> Settings {
    settings::read(&text).unwrap()
}

/// A container as `docker inspect` shows it, in its own bridge network.
#[expect(
    clippy::needless_pass_by_value,
    reason = "so that calls read as settings do"
)]
fn container(labels: Value) -> Value {
    json!({
        "Id": "0123456789abcdef0123456789abcdef",
        "Name": "/shop-orders-1",
        "State": {"Status": "running"},
        "Config": {"Image": "orders:2", "Labels": labels, "ExposedPorts": {"9090/tcp": {}, "8080/tcp": {}, "53/udp": {}}},
        "HostConfig": {"NetworkMode": "shop_default"},
        "NetworkSettings": {
            "Ports": {"8080/tcp": [{"HostIp": "::", "HostPort": "49153"}, {"HostIp": "0.0.0.0", "HostPort": "49153"}], "9090/tcp": null},
            "Networks": {
                "shop_default": {"IPAddress": "172.18.0.2", "GlobalIPv6Address": ""},
                "shop_back": {"IPAddress": "172.19.0.5"},
            },
        },
    })
}

fn with(mut described: Value, pointer: &str, value: Value) -> Value {
    *described.pointer_mut(pointer).unwrap() = value;
    described
}

fn address(described: &Value, text: Value) -> Result<String, String> {
    let found = Container::new(described)
        .found(&settings(text))
        .map_err(|why| why.to_string())?;
    Ok(format!("{}:{}", found.address.unwrap(), found.ports[0].1))
}

#[test]
fn labels_become_an_instance() {
    let described = container(json!({
        "portolan.service": "orders", "portolan.namespace": "shop", "portolan.port": "9090",
        "portolan.port.admin": "9091", "portolan.version": "v2", "portolan.zone": "z1",
        "portolan.weight": "50", "portolan.tags": "blue, canary", "portolan.meta.team": "a",
        "org.opencontainers.image.version": "1",
    }));
    let settings = settings(json!({}));
    let container = Container::new(&described);
    let found = container.found(&settings).unwrap();
    let source = SourceId::new("docker:test");
    let made = settings
        .basics
        .instance(&source, found, || container.object());
    let instance = made.unwrap().unwrap();
    assert_eq!(instance.key.to_string(), "shop/orders");
    assert_eq!(instance.id.as_str(), "0123456789ab");
    let ports: Vec<_> = instance
        .endpoints
        .iter()
        .map(|e| format!("{} {}", e.name, e.address))
        .collect();
    assert_eq!(ports, ["default 172.18.0.2:9090", "admin 172.18.0.2:9091"]);
    assert_eq!(
        (instance.version.as_deref(), instance.zone.as_deref()),
        (Some("v2"), Some("z1"))
    );
    assert_eq!(instance.weight.as_u16(), 50);
    assert_eq!(*instance.tags, ["blue".into(), "canary".into()]);
    let metadata: Vec<_> = instance
        .metadata
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(
        metadata,
        ["container=shop-orders-1", "image=orders:2", "team=a"]
    );
}

#[test]
fn names_come_from_labels_then_compose_then_the_container() {
    for (labels, name) in [
        (
            json!({"portolan.service": "a", "com.docker.compose.service": "b"}),
            "a",
        ),
        (json!({"com.docker.compose.service": "b"}), "b"),
        (json!({}), "shop-orders-1"),
    ] {
        let described = container(labels);
        let found = Container::new(&described)
            .found(&settings(json!({})))
            .unwrap();
        assert_eq!(found.service, name);
        assert_eq!(
            found.ports,
            [(String::new(), 8080)],
            "the lowest that is exposed"
        );
    }
}

#[test]
fn labels_say_who_is_wanted() {
    let wanted = |labels: Value, by_default: bool| {
        let settings = settings(json!({"exposed_by_default": by_default}));
        Container::new(&container(labels)).is_wanted(&settings)
    };
    assert!(!wanted(json!({}), false));
    assert!(wanted(json!({}), true));
    assert!(wanted(json!({"portolan.enable": "true"}), false));
    assert!(wanted(json!({"portolan.service": "a"}), false));
    assert!(!wanted(
        json!({"portolan.enable": "false", "portolan.service": "a"}),
        true
    ));
    assert!(!wanted(json!(null), false));
}

#[test]
fn addresses_are_those_of_the_network_that_was_chosen() {
    let described = container(json!({}));
    assert_eq!(address(&described, json!({})).unwrap(), "172.18.0.2:8080");
    assert_eq!(
        address(&described, json!({"network": "shop_back"})).unwrap(),
        "172.19.0.5:8080"
    );
    assert_eq!(
        address(&described, json!({"network": "back"})).unwrap(),
        "172.19.0.5:8080"
    );
    let labelled = container(json!({"portolan.network": "back"}));
    assert_eq!(
        address(&labelled, json!({"network": "shop_default"})).unwrap(),
        "172.19.0.5:8080"
    );
    let error = address(&described, json!({"network": "front"})).unwrap_err();
    assert!(
        error.contains("`front`") && error.contains("shop_back, shop_default"),
        "{error}"
    );
}

#[test]
fn published_ports_are_those_of_the_host() {
    let described = container(json!({}));
    let published = json!({"use": "published", "host_address": "10.0.0.4"});
    assert_eq!(
        address(&described, published.clone()).unwrap(),
        "10.0.0.4:49153"
    );
    let bound = json!([{"HostIp": "127.0.0.1", "HostPort": "80"}]);
    let local = with(described, "/NetworkSettings/Ports/8080~1tcp", bound);
    assert_eq!(address(&local, published.clone()).unwrap(), "127.0.0.1:80");
    let other = container(json!({"portolan.port": "9090"}));
    let error = address(&other, published).unwrap_err();
    assert_eq!(error, "its port 9090 is not published");
}

#[test]
fn a_container_on_the_network_of_the_host_is_reached_there() {
    let described = with(
        container(json!({})),
        "/HostConfig/NetworkMode",
        json!("host"),
    );
    let described = with(
        described,
        "/NetworkSettings",
        json!({"Ports": {}, "Networks": {"host": {"IPAddress": ""}}}),
    );
    assert_eq!(address(&described, json!({})).unwrap(), "127.0.0.1:8080");
    let remote = json!({"host": "tcp://10.0.0.9:2375", "use": "published"});
    assert_eq!(address(&described, remote).unwrap(), "10.0.0.9:8080");
}

#[test]
fn what_has_no_address_of_its_own_is_no_instance() {
    let shared = with(
        container(json!({})),
        "/HostConfig/NetworkMode",
        json!("container:ffff"),
    );
    let error = address(&shared, json!({})).unwrap_err();
    assert!(
        error.contains("shares the network of container ffff"),
        "{error}"
    );
    let none = with(
        container(json!({})),
        "/NetworkSettings/Networks",
        json!({"none": {"IPAddress": ""}}),
    );
    assert_eq!(
        address(&none, json!({})).unwrap_err(),
        "it has no IP address"
    );
    let portless = with(container(json!({})), "/Config/ExposedPorts", json!(null));
    let portless = with(portless, "/NetworkSettings/Ports", json!({}));
    let error = address(&portless, json!({})).unwrap_err();
    assert!(error.contains("no TCP port"), "{error}");
    let odd = container(json!({"portolan.port": "http"}));
    let error = address(&odd, json!({})).unwrap_err();
    assert!(error.contains("`portolan.port` is `http`"), "{error}");
}

#[test]
fn health_is_that_of_the_check_and_pause_takes_out_of_service() {
    let settings = settings(json!({}));
    for (status, health) in [
        ("none", Health::Passing),
        ("starting", Health::Starting),
        ("healthy", Health::Passing),
        ("unhealthy", Health::Critical),
    ] {
        let log = json!([{"Output": "connection refused\n"}]);
        let state = json!({"Status": "running", "Health": {"Status": status, "Log": log}});
        let described = with(container(json!({})), "/State", state);
        let found = Container::new(&described).found(&settings).unwrap();
        assert_eq!(found.health, health);
        let note = (health == Health::Critical).then_some("connection refused");
        assert_eq!(found.note.as_deref(), note);
    }
    let paused = with(container(json!({})), "/State/Status", json!("paused"));
    let container = Container::new(&paused);
    assert!(container.runs());
    let found = container.found(&settings).unwrap();
    let source = SourceId::new("docker:test");
    let instance = settings
        .basics
        .instance(&source, found, || container.object())
        .unwrap()
        .unwrap();
    assert!(!instance.state.traffic().is_open());
    assert_eq!(instance.state.note.as_deref(), Some("paused"));
    for ended in ["exited", "dead", "created", "restarting"] {
        let described = with(container_plain(), "/State/Status", json!(ended));
        assert!(!Container::new(&described).runs());
    }
}

fn container_plain() -> Value {
    container(json!({}))
}

#[test]
fn expressions_see_every_field_that_is_promised() {
    let described = container(json!({"tier": "web"}));
    let object = Container::new(&described).object();
    assert_eq!(object.keys().collect::<Vec<_>>(), NAMES);
    let settings =
        settings(json!({"only": "labels.tier == 'web'", "map": {"zone": "image", "port": "9090"}}));
    let container = Container::new(&described);
    let found = container.found(&settings).unwrap();
    let source = SourceId::new("docker:test");
    let instance = settings
        .basics
        .instance(&source, found, || container.object())
        .unwrap()
        .unwrap();
    assert_eq!(instance.zone.as_deref(), Some("orders:2"));
}

#[test]
fn events_say_who_is_to_be_looked_at() {
    let event = |kind: &str, action: &str| {
        let event = json!({"Type": kind, "Action": action, "Actor": {"ID": "one", "Attributes": {"container": "two"}}});
        concerned_by(event.to_string().as_bytes())
    };
    for action in [
        "start",
        "die",
        "destroy",
        "pause",
        "unpause",
        "health_status: healthy",
    ] {
        assert_eq!(
            event("container", action).as_deref(),
            Some("one"),
            "{action}"
        );
    }
    for action in ["exec_start: sh", "exec_die", "attach", "top", ""] {
        assert_eq!(event("container", action), None, "{action}");
    }
    assert_eq!(event("network", "connect").as_deref(), Some("two"));
    assert_eq!(event("network", "create"), None);
    assert_eq!(event("volume", "mount"), None);
    assert_eq!(concerned_by(b"{"), None);
    assert_eq!(
        concerned_by(br#"{"Type": "container", "Action": "die"}"#),
        None
    );
}

#[test]
fn hosts_are_sockets_or_servers() {
    let host = |text: &str, tls: bool| {
        let tls = if tls {
            json!({"ca": "ca.pem"})
        } else {
            Value::Null
        };
        match settings(json!({"host": text, "tls": tls})).host {
            Host::Socket(path) => path.display().to_string(),
            Host::Servers(servers) => servers.urls[0].to_string(),
        }
    };
    assert_eq!(host("unix:///run/d.sock", false), "/run/d.sock");
    assert_eq!(host("tcp://a:2375", false), "http://a:2375");
    assert_eq!(host("tcp://a:2376", true), "https://a:2376");
    assert_eq!(host("https://a:2376", false), "https://a:2376");
    let problems = |text| settings::read(&text).unwrap_err();
    assert_eq!(problems(json!({"host": "unix://d.sock"}))[0].path, "/host");
    assert_eq!(problems(json!({"tls": {}}))[0].path, "/tls");
}

const WORDS: &[&str] = &[
    "Id",
    "Name",
    "State",
    "Status",
    "running",
    "paused",
    "Health",
    "Log",
    "Output",
    "Config",
    "Labels",
    "portolan.service",
    "portolan.port",
    "portolan.port.a",
    "8080",
    "ExposedPorts",
    "8080/tcp",
    "HostConfig",
    "NetworkMode",
    "host",
    "NetworkSettings",
    "Networks",
    "IPAddress",
    "10.0.0.1",
    "Ports",
    "HostIp",
    "HostPort",
    "Type",
    "container",
    "Action",
    "die",
    "Actor",
    "ID",
];

proptest! {
    #[test]
    fn no_container_is_too_odd_to_be_read(described in json_of(WORDS), published in any::<bool>()) {
        let reach = if published { "published" } else { "internal" };
        let settings = settings(json!({"use": reach, "exposed_by_default": true}));
        let container = Container::new(&described);
        let _wanted = (container.runs(), container.has_ended(), container.is_wanted(&settings));
        let source = SourceId::new("docker:test");
        let _made = container
            .found(&settings)
            .and_then(|found| settings.basics.instance(&source, found, || container.object()));
        prop_assert_eq!(container.object().len(), NAMES.len());
        let _concerned = concerned_by(described.to_string().as_bytes());
    }
}

/// A daemon on a free port; how it answers for each container is the test's.
struct FakeDaemon {
    containers: Arc<Mutex<BTreeMap<String, String>>>,
    events: broadcast::Sender<String>,
    inflow: Inflow,
    _tasks: [Task; 2],
}

impl FakeDaemon {
    /// With a source that was told of one container.
    async fn followed(described: &Value) -> Self {
        let env = Env::system();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("tcp://{}", listener.local_addr().unwrap());
        let containers = Arc::new(Mutex::new(BTreeMap::new()));
        let (events, _) = broadcast::channel(16);
        let (known, sender, serving) = (Arc::clone(&containers), events.clone(), env.clone());
        let serve = async move {
            let mut lines = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                let line = Self::serve(stream, Arc::clone(&known), sender.subscribe());
                lines.push(serving.spawn("fake docker line", async {
                    let _gone = line.await;
                }));
            }
        };
        let task = env.spawn("fake docker", serve);
        let (mut hub, inflow) = inboxes();
        let id = SourceId::new("docker:test");
        let settings = settings(json!({"host": host, "map": {"id": "labels.slot"}}));
        let inbox = hub.open(&id, Turn::Fair);
        let running = env.spawn("source", settings.build(&id, &env).run(inbox));
        let mut daemon = Self {
            containers,
            events,
            inflow,
            _tasks: [task, running],
        };
        daemon.keep("one", Some(described.to_string()));
        assert_eq!(daemon.said().await, "reset 1");
        daemon
    }

    fn keep(&self, id: &str, described: Option<String>) {
        let mut containers = self.containers.lock().unwrap();
        match described {
            Some(described) => containers.insert(id.to_owned(), described),
            None => containers.remove(id),
        };
    }

    /// Something happened to a container, which is now so.
    fn happens(&self, action: &str, id: &str, described: Option<String>) {
        self.keep(id, described);
        let event = json!({"Type": "container", "Action": action, "Actor": {"ID": id}});
        self.events.send(format!("{event}\n")).unwrap();
    }

    async fn said(&mut self) -> String {
        let arrival = self.inflow.batch(1).await.remove(0);
        let News::Said(change) = arrival.saying.news else {
            return "something else".to_owned();
        };
        match change {
            Change::Put { instance } => {
                format!("put {} {}", instance.id, instance.endpoints[0].address.ip())
            }
            Change::Remove {
                id,
                departure: Departure::Explicit,
                ..
            } => format!("remove {id}"),
            Change::Remove { id, .. } => format!("miss {id}"),
            Change::Reset { instances, .. } => {
                let ids: Vec<_> = instances.iter().map(|one| one.id.as_str()).collect();
                format!("reset {}", ids.join(" "))
            }
            Change::Stale { reason } => format!("stale {reason}"),
        }
    }

    async fn serve(
        mut stream: TcpStream,
        containers: Arc<Mutex<BTreeMap<String, String>>>,
        mut events: broadcast::Receiver<String>,
    ) -> io::Result<()> {
        let mut asked = Vec::new();
        loop {
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await?);
            }
            let head = String::from_utf8_lossy(&asked).into_owned();
            asked.clear();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            if path.starts_with("/events") {
                let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                stream.write_all(head).await?;
                while let Ok(event) = events.recv().await {
                    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                    stream.write_all(chunk.as_bytes()).await?;
                }
                return Ok(());
            }
            let body = {
                let containers = containers.lock().unwrap();
                if path == "/containers/json" {
                    let ids: Vec<_> = containers.keys().map(|id| json!({"Id": id})).collect();
                    Some(Value::from(ids).to_string())
                } else {
                    let id = path.split('/').nth(2).unwrap_or_default();
                    containers.get(id).cloned()
                }
            };
            let status = if body.is_some() {
                "200 OK"
            } else {
                "404 Not Found"
            };
            let body = body.unwrap_or_default();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}

/// A container that is known by the slot that it fills.
fn in_slot(slot: &str, address: &str) -> Value {
    let described = container(
        json!({"portolan.service": "orders", "portolan.network": "shop_default", "slot": slot}),
    );
    with(
        described,
        "/NetworkSettings/Networks/shop_default/IPAddress",
        json!(address),
    )
}

#[tokio::test]
async fn a_container_in_the_place_of_another_outlives_it() {
    let mut daemon = FakeDaemon::followed(&in_slot("1", "172.18.0.2")).await;
    let next = in_slot("1", "172.18.0.3").to_string();
    daemon.happens("start", "two", Some(next));
    assert_eq!(daemon.said().await, "put 1 172.18.0.3");
    daemon.happens("destroy", "one", None);
    let other = in_slot("3", "172.18.0.4").to_string();
    daemon.happens("start", "three", Some(other));
    assert_eq!(daemon.said().await, "put 3 172.18.0.4");
    daemon.happens("destroy", "two", None);
    assert_eq!(daemon.said().await, "remove 1");
}

#[tokio::test]
async fn a_container_that_is_described_by_nonsense_has_not_ended() {
    for nonsense in ["{}", "<html>", "null"] {
        let mut daemon = FakeDaemon::followed(&in_slot("1", "172.18.0.2")).await;
        daemon.happens("health_status", "one", Some(nonsense.to_owned()));
        assert_eq!(daemon.said().await, "reset ", "{nonsense}: by inference");
    }
    let mut daemon = FakeDaemon::followed(&in_slot("1", "172.18.0.2")).await;
    let ended = with(in_slot("1", ""), "/State/Status", json!("exited"));
    daemon.happens("die", "one", Some(ended.to_string()));
    assert_eq!(daemon.said().await, "remove 1");
}
