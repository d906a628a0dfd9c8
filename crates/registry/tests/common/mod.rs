//! A registry with a small publisher and the native front, on a port of loopback.

#![expect(dead_code, reason = "each test file uses its part")]

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use portolan_catalog::{
    Applied, Arrival, Catalog, Fold, GuardSettings, InboxHub, Inflow, Settled, Settling, Turn,
    Witness, inboxes,
};
use portolan_model::{InstanceId, Revision, RevisionClock, ServiceKey, SourceId};
use portolan_registry::{
    Follow, Following, Orders, Parts, Published, Reader, Registry, Stored,
    check::{Checks, Reports},
    core::Bounds,
    front::native::{self, Native},
    watch::Hub,
};
use portolan_runtime::{Env, Task, drain::Drain};
use portolan_wire::serve::{Hosts, Limits, Settings, serve};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::{broadcast, watch},
};

/// The test's own publisher: every batch is a publication.
pub(crate) struct Shelf {
    newest: watch::Sender<Catalog>,
    published: broadcast::Sender<Published>,
}

impl Reader for Shelf {
    fn catalog(&self) -> Catalog {
        self.newest.borrow().clone()
    }

    fn follow(&self) -> Box<dyn Follow> {
        Box::new(Subscribed(self.published.subscribe()))
    }
}

struct Subscribed(broadcast::Receiver<Published>);

impl Follow for Subscribed {
    fn next(&mut self) -> Following<'_> {
        Box::pin(async { self.0.recv().await.ok() })
    }
}

async fn publish(shelf: Arc<Shelf>, mut fold: Fold, mut inflow: Inflow, env: Env) {
    loop {
        let batch = inflow.batch(64).await;
        if batch.is_empty() {
            return;
        }
        for Arrival { saying, done } in batch {
            let Applied {
                revision, changed, ..
            } = fold.apply(env.now(), saying);
            shelf.newest.send_replace(fold.catalog());
            let _followers = shelf
                .published
                .send(Published::Changed(revision, changed.into()));
            if let Some(done) = done {
                let _asked = done.send(revision);
            }
        }
    }
}

/// Nothing is ever in flight, unless the test says so.
pub(crate) struct Quiet(pub(crate) watch::Sender<usize>);

impl Witness for Quiet {
    fn settled<'a>(
        &'a self,
        _: &'a ServiceKey,
        _: &'a InstanceId,
        _: Revision,
        within: Duration,
    ) -> Settling<'a> {
        let mut in_flight = self.0.subscribe();
        Box::pin(async move {
            let idle = in_flight.wait_for(|in_flight| *in_flight == 0);
            match tokio::time::timeout(within, idle).await {
                Ok(_) => Settled::Idle,
                Err(_) => Settled::Deadline {
                    in_flight: *self.0.borrow(),
                },
            }
        })
    }
}

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) env: Env,
    pub(crate) registry: Registry,
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) in_flight: Arc<Quiet>,
    pub(crate) inboxes: InboxHub,
    pub(crate) drain: Drain,
    pub(crate) orders: Option<Orders>,
    pub(crate) checks: Checks,
    pub(crate) reports: Option<Reports>,
    tasks: Vec<Task>,
}

impl World {
    pub(crate) fn new(env: Env) -> Self {
        Self::over(env, None)
    }

    /// A registry over a store.
    pub(crate) fn over(env: Env, stored: Option<Stored>) -> Self {
        let (mut hub, inflow) = inboxes();
        let pulses = hub.pulses();
        let inbox = hub.open(&SourceId::new("registry"), Turn::First);
        let clock = RevisionClock::new(Revision::FIRST);
        let fold = Fold::new(GuardSettings::default(), clock, env.now());
        let shelf = Arc::new(Shelf {
            newest: watch::Sender::new(fold.catalog()),
            published: broadcast::Sender::new(64),
        });
        let reader: Arc<dyn Reader> = Arc::clone(&shelf) as _;
        let in_flight = Arc::new(Quiet(watch::Sender::new(0)));
        let (registry, desk, orders) = Registry::new(Parts {
            env: env.clone(),
            inbox,
            bounds: Bounds::default(),
            witness: Arc::clone(&in_flight) as _,
            reader: Arc::clone(&reader),
            stored,
        });
        let (watches, hub_task) = Hub::new(&*reader);
        let (checks, reports) = Checks::new();
        let drain = Drain::new();
        let front = Native::new(native::Parts {
            registry: registry.clone(),
            hub: watches,
            checks: checks.clone(),
            pulses,
            links: Arc::new(|key| Some(format!("http://localhost:8080/{}/", key.name))),
            drain: drain.watch(),
            env: env.clone(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let settings = Settings {
            limits: Limits::default(),
            hosts: Hosts::Named(Vec::new()),
            tls: None,
        };
        let served = serve(
            listener,
            Arc::new(front),
            settings,
            drain.watch(),
            env.clone(),
        );
        let tasks = vec![
            env.spawn("publisher", publish(shelf, fold, inflow, env.clone())),
            env.spawn("registry", desk.run()),
            env.spawn("hub", hub_task.run()),
            env.spawn("server", async { served.await.unwrap() }),
        ];
        Self {
            address,
            env,
            registry,
            reader,
            in_flight,
            inboxes: hub,
            drain,
            orders: Some(orders),
            checks,
            reports: Some(reports),
            tasks,
        }
    }

    pub(crate) fn keep(&mut self, task: Task) {
        self.tasks.push(task);
    }

    /// One request on a connection of its own: status and body.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> (u16, serde_json::Value) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    pub(crate) async fn watch(&self, path: &str) -> Events {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // Without chunks the events are plain lines.
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Events(BufReader::new(stream))
    }
}

/// Server-sent events.
pub(crate) struct Events(BufReader<TcpStream>);

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<u64>,
    pub(crate) name: String,
    pub(crate) data: serde_json::Value,
}

impl Events {
    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.unwrap() == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => event.id = Some(id.parse().unwrap()),
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("data", data)) => {
                    event.data = serde_json::from_str(data).unwrap();
                    return Some(event);
                }
                _ => {}
            }
        }
    }

    /// The next event's name and the id of its instance.
    pub(crate) async fn told(&mut self) -> (String, String) {
        let event = self.next().await.unwrap();
        let id = event.data["id"].as_str().unwrap_or_default();
        (event.name, id.to_owned())
    }
}
