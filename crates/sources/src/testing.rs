//! A server on loopback and a source that reads it, for tests.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use portolan_catalog::{InboxHub, Inflow, News, SourceKind, Turn, inboxes};
use portolan_model::{Change, Departure, Instance, NodeId, SourceId};
use portolan_runtime::{Env, Task, drain::Drain};
use portolan_wire::serve::{self, Handler, Hosts, Limits, Response, Settings, full};
use serde_json::Value;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that answers as the test says.
pub(crate) struct Server {
    pub(crate) url: String,
    _drain: Drain,
    _task: Task,
}

impl Server {
    pub(crate) fn start(env: &Env, handler: impl Handler + 'static) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let settings = Settings {
            limits: Limits::default(),
            hosts: Hosts::Named(Vec::new()),
            tls: None,
        };
        let drain = Drain::new();
        let handler = Arc::new(handler);
        let serving = serve::serve(listener, handler, settings, drain.watch(), env.clone());
        Self {
            url: format!("http://127.0.0.1:{port}"),
            _task: env.spawn("server", async move { serving.await.unwrap() }),
            _drain: drain,
        }
    }
}

/// An answer with header fields.
pub(crate) fn answer(status: u16, fields: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Response {
    let mut response = Response::new(full(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    let headers = response.headers_mut();
    for (name, value) in fields {
        let name = HeaderName::try_from(*name).unwrap();
        headers.insert(name, HeaderValue::try_from(*value).unwrap());
    }
    response
}

/// A field of a request, as a text.
pub(crate) fn field(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().unwrap().to_owned())
}

pub(crate) fn node(number: u64) -> NodeId {
    NodeId::of_chance([number, number])
}

/// A source at work, and what it says.
pub(crate) struct World {
    env: Env,
    hub: InboxHub,
    inflow: Inflow,
    said: Vec<Change>,
    _task: Task,
}

impl World {
    /// A source of that kind, in the Portolan that is node 1.
    pub(crate) fn of(kind: &SourceKind, settings: &Value) -> Self {
        let env = Env::system();
        let (hub, inflow) = inboxes();
        let mut hub = hub.of_node(node(1));
        let id = SourceId::new("test:one");
        let inbox = hub.open(&id, Turn::Fair);
        let spec = (kind.parse)(settings).unwrap();
        let task = env.spawn("source", spec.build(&id, &env).run(inbox));
        Self {
            env,
            hub,
            inflow,
            said: Vec::new(),
            _task: task,
        }
    }

    /// Waits until this is said: `reset a b`, `put a`, `gone a` (inferred), `left a`
    /// (explicit), or the beginning of `stale reason`. Forgets what was said before.
    pub(crate) async fn until(&mut self, wanted: &str) -> Change {
        let env = self.env.clone();
        let heard = async {
            loop {
                if let Some(found) = self.take(wanted) {
                    return found;
                }
                self.listen().await;
            }
        };
        let heard = env.timeout(PATIENCE, heard).await;
        heard.unwrap_or_else(|_| panic!("nobody said `{wanted}`, but {:#?}", self.besides()))
    }

    /// What was wanted, if it was said; what was said before is forgotten.
    fn take(&mut self, wanted: &str) -> Option<Change> {
        let is_it = |change: &Change| match wanted.strip_prefix("stale ") {
            Some(reason) => words(change).starts_with("stale") && words(change).contains(reason),
            None => words(change) == wanted,
        };
        let index = self.said.iter().position(is_it)?;
        self.said.drain(..=index).next_back()
    }

    async fn listen(&mut self) {
        let batch = self.inflow.batch(64).await.into_iter();
        let said = batch.filter_map(|arrival| {
            let News::Said(change) = arrival.saying.news else {
                return None;
            };
            Some(change)
        });
        self.said.extend(said);
    }

    /// The instances of the next `Reset`; none if something else was said first.
    pub(crate) async fn next_reset(&mut self) -> Option<Vec<Arc<Instance>>> {
        while self.said.is_empty() {
            let env = self.env.clone();
            let heard = env.timeout(PATIENCE, self.listen()).await;
            heard.expect("nobody said anything");
        }
        match self.said.remove(0) {
            Change::Reset { instances, .. } => Some(instances),
            Change::Put { .. } | Change::Remove { .. } | Change::Stale { .. } => None,
        }
    }

    /// What is said next, whatever it is.
    pub(crate) async fn next(&mut self) -> String {
        while self.said.is_empty() {
            let env = self.env.clone();
            let heard = env.timeout(PATIENCE, self.listen()).await;
            heard.expect("nobody said anything");
        }
        words(&self.said.remove(0))
    }

    /// What was said since what was last waited for.
    pub(crate) fn besides(&self) -> Vec<String> {
        self.said.iter().map(words).collect()
    }

    /// An example of what can't be used.
    pub(crate) fn unfit(&self) -> Option<String> {
        let report = self.hub.pulses().report(&SourceId::new("test:one"))?;
        report.unfit_example.as_deref().map(str::to_owned)
    }
}

/// The change, in a few words.
fn words(change: &Change) -> String {
    match change {
        Change::Reset { instances, .. } => {
            let mut ids: Vec<_> = instances.iter().map(|i| i.id.as_str()).collect();
            ids.sort_unstable();
            format!("reset {}", ids.join(" ")).trim().to_owned()
        }
        Change::Put { instance } => format!("put {}", instance.id),
        Change::Remove { id, departure, .. } => match departure {
            Departure::Explicit => format!("left {id}"),
            Departure::Inferred => format!("gone {id}"),
        },
        Change::Stale { reason } => format!("stale {reason}"),
    }
}

/// The instances of a change.
pub(crate) fn instances(change: Change) -> Vec<Arc<Instance>> {
    match change {
        Change::Reset { instances, .. } => instances,
        Change::Put { instance } => vec![instance],
        Change::Remove { .. } | Change::Stale { .. } => Vec::new(),
    }
}
