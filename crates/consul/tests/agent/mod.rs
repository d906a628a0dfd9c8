//! Consul's front over real HTTP on loopback, with a registry and a ledger behind it.

#![expect(dead_code, reason = "each test file uses its part")]

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
};

use portolan_auth::Access;
use portolan_consul::{Consul, Settings as Front};
use portolan_dialects::consul::{Home, NodeDefinition};
use portolan_ledger::Ledger;
use portolan_registry::watch::Hub;
use portolan_runtime::Env;
use portolan_store::{Embedded, Settings as StoreSettings};
use portolan_testkit::Scratch;
use portolan_wire::serve::{Hosts, Limits, Settings, serve};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::common::World;

pub(crate) struct Agent {
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    pub(crate) store: Embedded,
    address: SocketAddr,
    scratch: Arc<Scratch>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn index(&self) -> u64 {
        self.headers["x-consul-index"].parse().unwrap()
    }
}

impl Agent {
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(Scratch::new()))
    }

    /// The same, once more: with what the ledger holds, and an empty catalogue.
    pub(crate) async fn restarted(self) -> Self {
        let Self {
            world,
            ledger,
            store,
            scratch,
            ..
        } = self;
        ledger.attach(None).await;
        drop(world);
        store.close().await;
        Self::over(scratch)
    }

    fn over(scratch: Arc<Scratch>) -> Self {
        let mut world = World::new(Env::system());
        let env = world.env.clone();
        let settings = StoreSettings::of(scratch.path().join("store"));
        let (store, _) = Embedded::open(&env, settings).unwrap();
        let (ledger, ledger_task) = Ledger::start(&env, Some(Arc::new(store.clone())));
        world.keep(ledger_task);
        let (hub, watches) = Hub::new(&*world.reader);
        let (front, keeper) = Consul::new(Front {
            registry: world.registry.clone(),
            hub,
            ledger: ledger.clone(),
            drain: world.drain.watch(),
            access: Access::new(&env),
            env: env.clone(),
            home: Home {
                node: NodeDefinition {
                    id: "11111111-2222-4333-8444-555555555555".into(),
                    name: "here".into(),
                    address: "127.0.0.1".into(),
                    ..NodeDefinition::default()
                },
                datacenter: "dc1".into(),
            },
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let settings = Settings {
            limits: Limits {
                body: portolan_consul::BODY_MAX,
                ..Limits::default()
            },
            hosts: Hosts::Named(Vec::new()),
            tls: None,
        };
        let drain = world.drain.watch();
        let served = serve(listener, Arc::new(front), settings, drain, env.clone());
        world.keep(env.spawn("consul hub", watches.run()));
        world.keep(env.spawn("keeper", keeper.run()));
        world.keep(env.spawn("consul", async { served.await.unwrap() }));
        Self {
            world,
            ledger,
            store,
            address,
            scratch,
        }
    }

    /// The status and the body as it came.
    pub(crate) async fn bytes(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // Without chunks the body is what follows the head.
        let head = format!(
            "{method} /v1/{path} HTTP/1.0\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let rest = answer.split_off(end.unwrap() + 4);
        let head = String::from_utf8(answer).unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), rest)
    }

    /// A request whose body does not come.
    pub(crate) async fn begin(&self, method: &str, path: &str, size: usize) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "{method} /v1/{path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "{method} /v1/{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        let headers = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            headers: headers
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: serde_json::from_str(text).unwrap_or_default(),
            text: text.to_owned(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let answer = self.call("GET", path, "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        let answer = self.call("PUT", path, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer
    }

    pub(crate) async fn refused(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let answer = self.call(method, path, body).await;
        (answer.status, answer.text)
    }

    /// The ids of the services of that name.
    pub(crate) async fn ids(&self, query: &str) -> Vec<String> {
        let answer = self.get(&format!("health/service/{query}")).await;
        let entries = answer.body.as_array().unwrap().iter();
        entries
            .map(|entry| entry["Service"]["ID"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) async fn status(&self, check: &str) -> (String, String) {
        let checks = self.get("agent/checks").await.body;
        let text = |field: &str| checks[check][field].as_str().unwrap_or_default().to_owned();
        (text("Status"), text("Output"))
    }
}
