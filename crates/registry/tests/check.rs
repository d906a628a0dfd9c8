//! The prober, on real sockets of loopback.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

mod common;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use common::World;
use portolan_catalog::Turn;
use portolan_dialects::native::CheckShape;
use portolan_model::{
    Change, Health, Instance, InstanceId, Metadata, Name, NamedPort, ServiceKey, SourceId, State,
    Verdict, Weight,
};
use portolan_registry::{
    check::{Bench, Hearing, Parts, Prober, ServiceCheck},
    core::Subject,
};
use portolan_runtime::Env;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, watch},
};

/// Keeps what it hears.
struct Listener(mpsc::UnboundedSender<(Subject, Option<Verdict>)>);

impl Bench for Listener {
    fn hear<'a>(
        &'a self,
        subject: &'a Subject,
        _: SocketAddr,
        verdict: Option<Verdict>,
    ) -> Hearing<'a> {
        self.0.send((subject.clone(), verdict)).unwrap();
        Box::pin(async {})
    }
}

struct Probed {
    world: World,
    heard: mpsc::UnboundedReceiver<(Subject, Option<Verdict>)>,
    checks: watch::Sender<Arc<[ServiceCheck]>>,
}

fn probed() -> Probed {
    let mut world = World::new(Env::system());
    let (sender, heard) = mpsc::unbounded_channel();
    let checks = watch::Sender::new(Arc::from([]));
    let prober = Prober::new(Parts {
        env: world.env.clone(),
        registry: world.registry.clone(),
        orders: world.orders.take().unwrap(),
        checks: checks.subscribe(),
        bench: Arc::new(Listener(sender)),
    });
    let task = world.env.spawn("prober", prober.run());
    world.keep(task);
    Probed {
        world,
        heard,
        checks,
    }
}

/// Answers every request with the status that the sender holds.
async fn backend(status: u16) -> (u16, watch::Sender<u16>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let statuses = watch::Sender::new(status);
    let status = statuses.subscribe();
    let serving = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /health HTTP/1.1\r\nHost: "));
            let answer = format!(
                "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 {} X\r\ncontent-length: 0\r\n\r\n",
                *status.borrow()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    Env::system().spawn("backend", serving).detach();
    (port, statuses)
}

fn registration(port: u16) -> String {
    let check = json!({
        "http": {"path": "/health"}, "interval": "100ms", "rise": 1, "fall": 1,
    });
    json!({"port": port, "check": check}).to_string()
}

#[tokio::test]
async fn an_instance_is_as_healthy_as_its_check_says() {
    let probed = probed();
    let (port, statuses) = backend(200).await;
    let mut events = probed.world.watch("/v1/watch?service=orders").await;
    let path = "/v1/services/orders/instances/a";
    probed.world.call("PUT", path, &registration(port)).await;
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let event = events.next().await.unwrap();
        if event.name == "put" {
            let words = (event.data["status"].clone(), event.data["note"].clone());
            seen.push(words);
            statuses.send_replace(if seen.len() == 2 { 503 } else { 200 });
        }
    }
    assert_eq!(
        seen,
        [
            (json!("starting"), json!("waiting for its first check")),
            (json!("passing"), json!(null)),
            (json!("critical"), json!("status 503")),
            (json!("passing"), json!(null)),
        ]
    );
}

#[tokio::test]
async fn a_closed_port_is_told_in_plain_words() {
    let probed = probed();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut events = probed.world.watch("/v1/watch?service=orders").await;
    let path = "/v1/services/orders/instances/a";
    probed.world.call("PUT", path, &registration(port)).await;
    loop {
        let event = events.next().await.unwrap();
        if event.data["status"] == "critical" {
            assert_eq!(event.data["note"], "connection refused");
            return;
        }
    }
}

#[tokio::test]
async fn instances_of_other_sources_are_checked_by_the_configuration() {
    let mut probed = probed();
    let (port, _statuses) = backend(503).await;
    let key = ServiceKey::parse("orders").unwrap();
    let source = SourceId::new("file:edge");
    let inbox = probed.world.inboxes.open(&source, Turn::Fair);
    let instance = Instance {
        key: key.clone(),
        id: InstanceId::parse("a").unwrap(),
        endpoints: vec![NamedPort {
            name: Name::parse("default").unwrap(),
            address: (Ipv4Addr::LOCALHOST, port).into(),
        }],
        zone: None,
        version: None,
        weight: Weight::NORMAL,
        tags: Vec::new(),
        metadata: Metadata::new(),
        source,
        state: State::default(),
    };
    let put = Change::Put {
        instance: Arc::new(instance),
    };
    inbox.commit(None, put).await.unwrap();
    let shape = json!({"http": {"path": "/health"}, "interval": "100ms", "fall": 2});
    let shape: CheckShape = serde_json::from_value(shape).unwrap();
    let check = ServiceCheck {
        key: key.clone(),
        port: None,
        subset: Metadata::new(),
        check: shape.to_check().unwrap(),
    };
    probed.checks.send_replace([check].into());
    let (subject, verdict) = probed.heard.recv().await.unwrap();
    let verdict = verdict.unwrap();
    assert_eq!((subject.key, verdict.health), (key, Health::Critical));
    assert_eq!(verdict.note.as_deref(), Some("status 503"));

    probed.checks.send_replace([].into());
    assert_eq!(probed.heard.recv().await.unwrap().1, None);
}
