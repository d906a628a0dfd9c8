//! Consul's front over real HTTP on loopback, with a registry and a ledger behind it.

#![expect(dead_code, reason = "each test file uses its part")]

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use portolan_access::{Authority, Caller, Grant, Level, Limited, Rules};
use portolan_auth::Access;
use portolan_consul::{Consul, Settings as Front};
use portolan_dialects::consul::{Home, NodeDefinition};
use portolan_ledger::Ledger;
use portolan_model::Verdict;
use portolan_registry::{
    check::{Bench, Hearing, Parts as Probing, Prober, Reach, ReachSettings, ServiceCheck},
    core::Subject,
    watch::Hub,
};
use portolan_runtime::Env;
use portolan_store::{Embedded, Settings as StoreSettings};
use portolan_testkit::Scratch;
use portolan_wire::serve::{Handler, Hosts, Limits, Request, Settings, serve};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

use crate::common::World;

pub(crate) struct Agent {
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    pub(crate) store: Embedded,
    pub(crate) access: Access,
    /// Whether checks may run programs.
    pub(crate) programs: watch::Sender<ReachSettings>,
    /// No checks by the configuration.
    _configured: watch::Sender<Arc<[ServiceCheck]>>,
    address: SocketAddr,
    scratch: Arc<Scratch>,
    /// What callers may do; everything if none.
    caller: Arc<Mutex<Option<Caller>>>,
}

/// Nobody here is of another source.
struct Deaf;

impl Bench for Deaf {
    fn hear<'a>(&'a self, _: &'a Subject, _: SocketAddr, _: Option<Verdict>) -> Hearing<'a> {
        Box::pin(async {})
    }
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
        let programs = watch::Sender::new(ReachSettings::default());
        let configured = watch::Sender::new(Arc::from([]));
        let prober = Prober::new(Probing {
            env: env.clone(),
            registry: world.registry.clone(),
            orders: world.orders.take().unwrap(),
            checks: configured.subscribe(),
            bench: Arc::new(Deaf),
            errands: Arc::new(Reach::new(env.clone(), programs.subscribe())),
            reports: world.reports.take().unwrap(),
        });
        let allowed = programs.subscribe();
        let access = Access::new(&env);
        let (front, keeper) = Consul::new(Front {
            registry: world.registry.clone(),
            hub,
            checks: world.checks.clone(),
            programs: Arc::new(move || allowed.borrow().runs_programs),
            ledger: ledger.clone(),
            drain: world.drain.watch(),
            access: access.clone(),
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
        let caller = Arc::new(Mutex::new(None));
        let gate = gate(front, Arc::clone(&caller));
        let served = serve(listener, gate, settings, drain, env.clone());
        world.keep(env.spawn("consul hub", watches.run()));
        world.keep(env.spawn("keeper", keeper.run()));
        world.keep(env.spawn("prober", prober.run()));
        world.keep(env.spawn("consul", async { served.await.unwrap() }));
        Self {
            world,
            ledger,
            store,
            access,
            programs,
            _configured: configured,
            address,
            scratch,
            caller,
        }
    }

    /// From now on callers may do what these rules say and nothing else.
    pub(crate) fn limit_to(&self, rules: &str) {
        let authority = Authority::new([&Rules::parse(rules).unwrap()], Level::Deny);
        let limited = Limited {
            authority,
            ..Limited::default()
        };
        let number = *self.access.changes().borrow() + 1;
        let mut caller = self.caller.lock().unwrap();
        let before = caller.take().unwrap_or_default();
        *caller = Some(Caller {
            grant: Grant::Limited(Arc::new(limited)),
            rights: before.rights.replace(number),
            ..before
        });
        self.access.follow(None);
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

    /// Where the API begins.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
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

/// Tells the front what its callers may do, as the gate before it does.
fn gate(front: Consul, caller: Arc<Mutex<Option<Caller>>>) -> Arc<dyn Handler> {
    Arc::new(move |mut request: Request| {
        if let Some(caller) = caller.lock().unwrap().clone() {
            request.extensions_mut().insert(caller);
        }
        front.handle(request)
    })
}
